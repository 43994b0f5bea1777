"""Where the SAM family's weights are, and how Meta's files are called."""

from __future__ import annotations

from benchbcss.weights import Hub
from benchbcss.weights.loading import Layout, Loader
from benchbcss_sam2.network import VARIANTS

_PARTS: dict[str, Loader | None] = {"sam.": None}  # Meta's files hold no probe
#: of the original SAM; older repositories of transformers hold the second alone
SAM_FILES = ("model.safetensors", "pytorch_model.bin")
#: all of SAM2 but its image encoder, as Meta names it, and what our own checkpoints add
_NOT_ENCODER = (
    "sam_mask_decoder.",
    "sam_prompt_encoder.",
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "no_mem_",
    "no_obj_",
    "mask_downsample.",
    "obj_ptr_",
)


def sam2(variant: str, what: str, sam: Loader | None = None) -> Layout:
    """SAM2.1: facebook/sam2.1-hiera-large holds sam2.1_hiera_large.pt. ``sam`` loads Meta's names
    where the network has changed them."""
    return Layout(
        what=what,
        pretrained=Hub(id=f"facebook/sam2.1-hiera-{VARIANTS[variant]}"),
        filename=lambda repository: repository.split("/")[1].replace("-", "_") + ".pt",
        parts={"sam.": sam} if sam else _PARTS,
    )


def encoder(variant: str, what: str) -> Layout:
    """Of SAM2.1's files, the image encoder."""
    names = (*_NOT_ENCODER, *(f"sam.{name}" for name in _NOT_ENCODER), "probe.")
    whole = sam2(variant, what)
    return Layout(whole.what, whole.pretrained, whole.unpretrained, whole.filename, _PARTS, names)


def sam(repository: str, what: str, sam: Loader | None = None) -> Layout:
    """The original SAM, as transformers or Meta name its tensors, which ``sam`` loads; no
    ``repository``: there are no weights of it."""
    return Layout(
        what=what,
        pretrained=Hub(id=repository) if repository else None,
        unpretrained="random (smoke size has no pretrained weights)",
        filename=lambda repository: SAM_FILES,
        parts={"sam.": sam},
    )
