"""Dense segmentation by any network that transformers can load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation
from transformers.modeling_layers import GradientCheckpointingLayer

from benchbcss.data.class_maps import groups
from benchbcss.errors import DataError, RecipeError, WeightsError
from benchbcss.training.dense import DenseBackend
from benchbcss.training.recompute import innermost
from benchbcss.weights import Folder, Hub, fetch
from benchbcss.weights.hub import is_known_absent, reachable
from benchbcss.weights.loading import Layout, load_into, report
from benchbcss.weights.pretrained import from_pretrained, of_repository, with_absent
from benchbcss.weights.value import short
from benchbcss_hf.network import Preprocessing, Segmenter

PREPROCESSOR = "preprocessor_config.json"
#: where weights come from, where the recipe names none
SMOKE = "random (smoke size has no pretrained weights)"


class HFSemantic(DenseBackend):
    """One forward pass, one softmax per pixel, over the suite's classes."""

    made_here = ("mean", "std")

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Hub | None:
        source = recipe["model"]["weights"]
        return Hub(id=source) if source else None

    def build(self) -> nn.Module:
        """The network of ``--weights``, or the recipe's at random.

        A hub repository or a folder of ``save_pretrained`` brings its architecture, classes and
        preprocessing; tensors alone are for the recipe's ``config``. Raises RecipeError for a
        configuration that transformers cannot build, WeightsError for weights that are missing, of
        another kind, or, where they are scored as they are, of classes that are not the suite's.
        """
        automatic = self.automatic_weights(self.recipe)
        network, note = of_repository(self.context, automatic, self._by_transformers)
        if network is None:
            network = self._random(self._config())
            load_into(network, self.context, self._layout(note or SMOKE))
        return network

    def _config(self) -> dict[str, Any]:
        """The architecture of a random start, in transformers' terms."""
        config: dict[str, Any] = self.recipe["model"]["config"]
        return config

    def _layout(self, note: str) -> Layout:
        """What files of tensors alone hold; ``note`` says why a network is random."""
        return Layout(what="the recipe's network (model.config)", unpretrained=note)

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``backbone`` and ``head``, where the network tells them apart; else ``all``."""
        assert isinstance(model, Segmenter)
        prefix = f"{getattr(model.net, 'base_model_prefix', '')}."
        named = list(model.net.named_parameters())
        backbone = [p for n, p in named if n.startswith((prefix, "backbone."))]
        known = {id(parameter) for parameter in backbone}
        head = [p for _, p in named if id(p) not in known]
        return (
            {"backbone": backbone, "head": head} if backbone and head else {"all": head or backbone}
        )

    def recomputable(self, model: nn.Module) -> list[nn.Module]:
        """The layers that transformers itself would compute again, where the network has any."""
        return innermost(model, GradientCheckpointingLayer)

    def _random(self, settings: dict[str, Any]) -> Segmenter:
        count = self.task.num_classes
        try:
            plain = dict(settings)
            kind = plain.pop("model_type")
            usual = AutoConfig.for_model(kind)
            if strange := [key for key in plain if not hasattr(usual, key)]:
                raise ValueError(f"{type(usual).__name__} has no {', '.join(strange)}")
            config = AutoConfig.for_model(kind, num_labels=count, **plain)
            net = AutoModelForSemanticSegmentation.from_config(config)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            raise RecipeError(
                f"model.config does not make a network: {type(error).__name__}: {first[:200]}"
            ) from error
        return Segmenter(net, self._preprocessing(None), self._own_order(), count)

    def _by_transformers(self, given: Hub | Folder) -> Segmenter:
        config = from_pretrained(AutoConfig.from_pretrained, given)
        known = type(config) in AutoModelForSemanticSegmentation._model_mapping
        if not known:
            raise WeightsError(
                f"The weights {short(given)} are of a {config.model_type}, which transformers has "
                f"no AutoModelForSemanticSegmentation for."
            )
        names = {int(index): str(name) for index, name in config.id2label.items()}
        options: dict[str, Any] = {}
        try:
            chosen = groups(
                names,
                self.task.class_names,
                self.task.mean_classes,
                self.recipe["model"]["class_map"],
                str(short(given)),
            )
        except DataError as error:
            if self.context.evaluating or self.recipe["model"]["class_map"]:
                raise WeightsError(str(error)) from error
            chosen, options = self._own_order(), {"num_labels": self.task.num_classes}
            names = dict(enumerate(self.task.class_names))
        load = AutoModelForSemanticSegmentation.from_pretrained
        net, lacking = with_absent(load, given, **options)
        network = Segmenter(net, self._preprocessing(given), chosen, len(names))
        note = f"file: {given.sha256[:16]}" if isinstance(given, Folder) else f"pretrained: {given}"
        state = [n for n in network.state_dict() if n not in self.made_here]
        loaded = [n for n in state if n.removeprefix("net.") not in lacking]
        report(network, self.context, note, loaded, wrapping="as net.")
        return network

    def _own_order(self) -> tuple[tuple[int, ...], ...]:
        return tuple((index,) for index in range(self.task.num_classes))

    def _preprocessing(self, given: Hub | Folder | None) -> Preprocessing:
        """The checkpoint's own, or the recipe's."""
        recipe = self.recipe["model"]["normalisation"]
        path = None
        if isinstance(given, Folder):
            path = Path(given.path) / PREPROCESSOR
        elif given is not None:
            try:
                path = fetch(given.id, PREPROCESSOR, given.revision)
            except WeightsError:
                self._say_unknown(given)
        if path is not None and path.is_file():
            return Preprocessing.read(path, recipe)
        return Preprocessing(tuple(recipe["mean"]), tuple(recipe["std"]))

    def _say_unknown(self, given: Hub) -> None:
        """Nothing where the repository is known to have no preprocessing of its own; a repository
        in the cache may lack it because only its weights were downloaded."""
        if reachable() or is_known_absent(given.id, PREPROCESSOR, given.revision):
            return
        which = f" --revision {given.revision}" if given.revision else ""
        said = (
            f"the recipe's normalisation is used: {PREPROCESSOR} of {given} is not in the cache, "
            f"and the hub cannot be reached"
        )
        self.context.notes["preprocessing"] = said
        print(
            f"warning: {said}. Where there is a network: hf download {given.id} {PREPROCESSOR}"
            f"{which}; or say --set model.normalisation",
            file=sys.stderr,
        )
