"""Where the SAM family's weights are, and how Meta's files are called."""

from __future__ import annotations

from benchbcss.weights import Hub
from benchbcss.weights.loading import Layout
from benchbcss_sam2.network import VARIANTS

_PARTS = {"sam.": None}  # Meta's files hold no probe


def sam2(variant: str, what: str) -> Layout:
    """SAM2.1: facebook/sam2.1-hiera-large holds sam2.1_hiera_large.pt."""
    return Layout(
        what=what,
        pretrained=Hub(id=f"facebook/sam2.1-hiera-{VARIANTS[variant]}"),
        filename=lambda repository: repository.split("/")[1].replace("-", "_") + ".pt",
        parts=_PARTS,
    )


def sam(repository: str, what: str) -> Layout:
    """The original SAM, as transformers names its tensors."""
    return Layout(what=what, pretrained=Hub(id=repository), parts=_PARTS)
