"""SegFormer (Xie et al. 2021): a Mix Transformer encoder and an all-MLP decoder."""

from __future__ import annotations

from typing import Any

from benchbcss.errors import RecipeError
from benchbcss.weights import Hub
from benchbcss.weights.loading import Layout
from benchbcss_hf.backend import HFSemantic


class Segformer(HFSemantic):
    """Logits at a quarter of the size, enlarged to the tile before loss and scores; the encoder is
    the recipe's variant, from ImageNet. ``model.variants`` holds the sizes of the paper."""

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Hub | None:
        source = variant(recipe)["weights"]
        return Hub(id=source) if source else None

    def _config(self) -> dict[str, Any]:
        model = self.recipe["model"]
        sizes = {key: value for key, value in variant(self.recipe).items() if key != "weights"}
        return {
            "model_type": "segformer",
            **sizes,
            "drop_path_rate": model["drop_path"],
            "classifier_dropout_prob": model["dropout"],
        }

    def _layout(self, note: str) -> Layout:
        """The encoder may come alone."""
        what = f"SegFormer variant '{self.recipe['model']['variant']}'"
        return Layout(what=what, unpretrained=note, parts={"net.segformer.": None})


def variant(recipe: dict[str, Any]) -> dict[str, Any]:
    """The chosen entry of ``model.variants``. Raises RecipeError for an unknown one."""
    model = recipe["model"]
    if model["variant"] not in model["variants"]:
        known = ", ".join(model["variants"])
        raise RecipeError(f"model.variant: there is no '{model['variant']}'. Known: {known}.")
    chosen: dict[str, Any] = model["variants"][model["variant"]]
    return chosen
