"""UNet++ (Zhou et al. 2018) with a pretrained encoder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from benchbcss import weights as files
from benchbcss.contract import Backend, Batch
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.training.losses import balanced_loss
from benchbcss_unetpp import weights as stored
from benchbcss_unetpp.network import Normalised


class UNetPP(Backend):
    """Dense semantic segmentation: one forward pass, one softmax per pixel."""

    def build(self) -> nn.Module:
        """UNet++ for the task's classes; says in ``notes['weights']`` how its encoder starts.

        Raises RecipeError for an encoder that smp or timm cannot give, WeightsError for weights
        that are asked for and missing or of another network.
        """
        model = self.recipe["model"]
        wanted = self.context.weights
        self._net: smp.UnetPlusPlus
        if wanted == "auto":
            note = self._pretrained(model)
        elif wanted == "none":
            self._net, note = self._make(model), "random"
        elif not files.is_hub_id(wanted):
            self._net = self._make(model)
            return self._from_file(Path(wanted), self._wrap(model))
        else:
            note = self._from_hub(model, wanted, None)
        self.context.notes["weights"] = note
        return self._wrap(model)

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
        """``encoder`` (pretrained) and ``decoder`` (decoder and head)."""
        assert isinstance(model, Normalised)
        encoder = [p for n, p in model.net.named_parameters() if n.startswith("encoder.")]
        decoder = [p for n, p in model.net.named_parameters() if not n.startswith("encoder.")]
        return {"encoder": encoder, "decoder": decoder}

    def _wrap(self, model: dict[str, Any]) -> Normalised:
        statistics = model["normalisation"]
        return Normalised(self._net, statistics["mean"], statistics["std"])

    def _make(self, model: dict[str, Any], **timm: Any) -> smp.UnetPlusPlus:
        name = model["encoder"]
        if not name.startswith("tu-"):
            stored.known_encoder(name)
        channels = list(model["decoder_channels"])
        if not 3 <= len(channels) <= 5:
            raise RecipeError(f"model.decoder_channels needs 3 to 5 widths, got {channels}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return smp.UnetPlusPlus(
                    encoder_name=name,
                    encoder_depth=len(channels),
                    encoder_weights=True if timm else None,  # type: ignore[arg-type]
                    decoder_channels=channels,
                    classes=self.task.num_classes,
                    **timm,
                )
        except WeightsError:
            raise
        except Exception as error:
            raise RecipeError(
                f"model.encoder '{name}' does not make a UNet++: {error}. UNet++ needs an encoder "
                "with a stage at every halving, such as resnet34 or tu-resnet50."
            ) from error

    def _pretrained(self, model: dict[str, Any]) -> str:
        name, weights = model["encoder"], model["weights"]
        if not weights:
            self._net = self._make(model)
            return "random (smoke size has no pretrained weights)"
        repository, revision = stored.encoder_repository(name, weights)
        try:
            return self._from_hub(model, repository, revision)
        except WeightsError:
            if self.context.strict_weights:
                raise
        self._net = self._make(model)
        return f"random (pretrained weights {repository} were not available)"

    def _from_hub(self, model: dict[str, Any], repository: str, revision: str | None) -> str:
        """Encoder weights of a hub repository; returns the note."""
        path = files.fetch(repository, "model.safetensors", revision)
        if model["encoder"].startswith("tu-"):
            # timm renames old checkpoints' keys itself, and tells what it cannot use
            self._net = self._make(model, pretrained_cfg_overlay={"file": str(path)})
        else:
            self._net = self._make(model)
            self._load_encoder(files.read(path), repository)
        return f"pretrained: {repository}"

    def _from_file(self, path: Path, network: Normalised) -> Normalised:
        """A whole trained network (our own checkpoint), or an encoder alone."""
        state = files.read(path)
        if "mean" in state and any(key.startswith("net.decoder.") for key in state):
            try:
                network.load_state_dict(state)
            except RuntimeError as error:
                raise WeightsError(
                    f"Weights {path} are of another UNet++ than the recipe's: {error}"
                ) from error
        else:
            self._load_encoder(state, str(path))
        self.context.notes["weights"] = f"file: {files.digest(path)}"
        return network

    def _load_encoder(self, state: dict[str, Tensor], source: str) -> None:
        try:
            self._net.encoder.load_state_dict(state)  # smp drops an ImageNet classifier itself
        except (RuntimeError, TypeError, KeyError) as error:
            raise WeightsError(
                f"Weights {source} do not fit the encoder {self.recipe['model']['encoder']}: "
                f"{error}"
            ) from error

    def predict(self, model: nn.Module, image: Tensor) -> Tensor:
        """Logits float32 [B, K, H, W], for any H and W."""
        logits: Tensor = model(image)
        return logits.to(torch.float32)
