"""TransUNet (Chen et al. 2021) under the harness's shared protocol."""

from __future__ import annotations

from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchbcss.errors import RecipeError
from benchbcss.training.dense import DenseBackend
from benchbcss.weights import Auto, Hub
from benchbcss.weights.loading import load_into
from benchbcss_transunet import weights as stored
from benchbcss_transunet.network import TransUNet as Network


class TransUNet(DenseBackend):
    """Dense semantic segmentation with a CNN-transformer encoder."""

    made_here = ("mean", "std")

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Hub | None:
        model = recipe["model"]
        if not model["weights"]:
            return None
        return stored.pretrained(f"{model['encoder']}.{model['weights']}")

    def build(self) -> nn.Module:
        """TransUNet for the task's classes, weights loaded: the encoder's, or all.

        Raises RecipeError for an encoder that timm cannot give, WeightsError for weights that
        are asked for and missing or of another network.
        """
        automatic = isinstance(self.context.weights, Auto)
        source = self.automatic_weights(self.recipe) if automatic else None
        network = self._wrap(self._encoder())
        load_into(network, self.context, stored.layout(network, source))
        return network

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``encoder`` (CNN and transformer) and ``decoder``."""
        encoder = [p for n, p in model.named_parameters() if n.startswith("vit.")]
        decoder = [p for n, p in model.named_parameters() if not n.startswith("vit.")]
        return {"encoder": encoder, "decoder": decoder}

    def recomputable(self, model: nn.Module) -> list[nn.Module]:
        """Residual blocks of the CNN, blocks of the transformer, and the decoder's."""
        assert isinstance(model, Network)
        stages = model.vit.patch_embed.backbone.stages
        cnn = [block for stage in stages for block in stage.blocks]
        return [*cnn, *model.vit.blocks, *model.up]

    def _encoder(self) -> VisionTransformer:
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

    def _wrap(self, encoder: VisionTransformer) -> Network:
        model = self.recipe["model"]
        statistics = model["normalisation"]
        widths = list(model["decoder_channels"])
        if len(widths) != 4:
            raise RecipeError(f"model.decoder_channels needs 4 widths, got {widths}")
        classes = self.task.num_classes
        return Network(encoder, classes, widths, statistics["mean"], statistics["std"])
