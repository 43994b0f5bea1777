"""Floors: what no model should score below. They make every other number readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    for name, summary, track, target in (
        ("floor_majority", "the most frequent training class everywhere", "semantic", "Majority"),
        ("floor_colour", "per-pixel Gaussian classes of stain amounts", "semantic", "Colour"),
        ("floor_box_fill", "the oracle's box, filled", "prompted", "BoxFill"),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=frozenset({track}),  # type: ignore[arg-type]
                recipe="benchbcss_floors:floors.yaml",
                trains=False,
                floor=True,
            ),
            f"benchbcss_floors.backends:{target}",
        )
