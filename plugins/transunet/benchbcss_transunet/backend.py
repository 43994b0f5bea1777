"""TransUNet (Chen et al. 2021) under the harness's shared protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.models import get_pretrained_cfg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchbcss import weights as files
from benchbcss.contract import Backend, Batch
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.training.losses import balanced_loss
from benchbcss_transunet.network import TransUNet as Network


class TransUNet(Backend):
    """Dense semantic segmentation with a CNN-transformer encoder."""

    def build(self) -> nn.Module:
        """TransUNet for the task's classes; ``notes['weights']`` says how its encoder starts.

        Raises RecipeError for an encoder that timm cannot give, WeightsError for weights that
        are asked for and missing or of another network.
        """
        model, wanted = self.recipe["model"], self.context.weights
        tag = model["weights"]
        if wanted == "none" or (wanted == "auto" and not tag):
            note = "random" if wanted == "none" else "random (smoke size has no pretrained weights)"
            return self._wrap(self._encoder(), note)
        if wanted != "auto" and not files.is_hub_id(wanted):
            return self._from_file(Path(wanted))
        name = f"{model['encoder']}.{tag}"
        try:
            repository = wanted if wanted != "auto" else _repository(name)
            path = files.fetch(repository, "model.safetensors")
        except WeightsError:
            if self.context.strict_weights or wanted != "auto":
                raise
            return self._wrap(self._encoder(), f"random ({name} was not available)")
        # timm renames old checkpoints' keys and resamples position embeddings itself
        overlay = {"file": str(path)}
        encoder = self._encoder(pretrained=True, pretrained_cfg_overlay=overlay)
        return self._wrap(encoder, f"pretrained: {repository}")

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Class-balanced cross-entropy and soft Dice of the known pixels."""
        return balanced_loss(
            model(batch.image),
            batch.target,
            self.context.class_pixels,
            self.recipe["loss"],
            self.task.ignore_index,
        )

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``encoder`` (CNN and transformer) and ``decoder``."""
        encoder = [p for n, p in model.named_parameters() if n.startswith("vit.")]
        decoder = [p for n, p in model.named_parameters() if not n.startswith("vit.")]
        return {"encoder": encoder, "decoder": decoder}

    def predict(self, model: nn.Module, image: Tensor) -> Tensor:
        """Logits float32 [B, K, H, W], for any H and W."""
        logits: Tensor = model(image)
        return logits.float()

    def _encoder(self, **options: Any) -> VisionTransformer:
        model = self.recipe["model"]
        side = max(32, -(-self.task.tile // 16) * 16)
        try:
            vit = timm.create_model(
                model["encoder"],
                num_classes=0,
                img_size=side,
                dynamic_img_size=True,
                embed_dim=model["embed_dim"],
                depth=model["depth"],
                num_heads=model["heads"],
                **options,
            )
        except Exception as error:
            raise RecipeError(
                f"model.encoder '{model['encoder']}' does not make a TransUNet: {error}"
            ) from error
        if not hasattr(getattr(vit.patch_embed, "backbone", None), "stages"):
            raise RecipeError(
                f"model.encoder '{model['encoder']}' is not a hybrid of a ResNetV2 and a ViT, "
                "such as vit_base_r50_s16_224"
            )
        return vit

    def _wrap(self, encoder: VisionTransformer, note: str) -> Network:
        model = self.recipe["model"]
        self.context.notes["weights"] = note
        statistics = model["normalisation"]
        widths = list(model["decoder_channels"])
        if len(widths) != 4:
            raise RecipeError(f"model.decoder_channels needs 4 widths, got {widths}")
        classes = self.task.num_classes
        return Network(encoder, classes, widths, statistics["mean"], statistics["std"])

    def _from_file(self, path: Path) -> Network:
        """A network trained here: the state dict of the whole module, for the recipe's sizes."""
        state = files.read(path)
        network = self._wrap(self._encoder(), f"file: {files.digest(path)}")
        files.fits(state, network.state_dict(), str(path), "the recipe's TransUNet")
        network.load_state_dict(state)
        return network


def _repository(name: str) -> str:
    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise RecipeError(f"timm has no pretrained weights '{name}'. Use model.weights=null.")
    return str(config.hf_hub_id)
