"""Where a network's weights came from, as measured, for the record."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

NAMED = 5  # missing tensors that a record names


class Provenance(BaseModel):
    """``source``: 'pretrained: ID', 'file: SHA', 'random', or a backend's own words.

    ``revision`` is the commit of the hub's repository that was loaded, where it is known: what a
    repository holds may change. ``wrapping`` says how the tensors were packed. Counts are of the
    network's tensors and of its parameters' elements; ``missing`` names the first tensors that did
    not come from the source.
    """

    model_config = ConfigDict(extra="forbid")

    source: str
    tcga_overlap: str = "not declared"
    revision: str = ""
    wrapping: str = ""
    tensors: int = 0
    of_tensors: int = 0
    parameters: int = 0
    of_parameters: int = 0
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    #: tensors that were loaded, kept alive so that their identity holds -> digest, where asked for
    _evidence: list[tuple[Any, str | None]] = PrivateAttr(default_factory=list)

    @property
    def random(self) -> bool:
        """Whether nothing was loaded."""
        return self.source.startswith("random")

    @property
    def share(self) -> float:
        """Of the network's parameters that were loaded, 0 to 1."""
        return self.parameters / self.of_parameters if self.of_parameters else 0.0

    def names(self, model: Any) -> set[str]:
        """Which parameters and buffers of ``model`` were loaded; asked inside ``build`` only."""
        loaded = {id(tensor) for tensor, _ in self._evidence}
        tensors = [*model.named_parameters(), *model.named_buffers()]
        return {name for name, tensor in tensors if id(tensor) in loaded}

    def record(self) -> dict[str, Any]:
        """What was loaded, as ``result.json`` says it."""
        apart = {"source", "tcga_overlap"} | ({"revision"} if not self.revision else set())
        return {**self.model_dump(mode="json", exclude=apart), "share": round(self.share, 4)}
