"""nnU-Net v2 (Isensee et al. 2021) itself, from its own package, as a row of the board."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    register(
        BackendInfo(
            name="nnunet",
            summary="nnU-Net v2 from its own package: it plans, trains and predicts by itself",
            tracks=frozenset({"semantic"}),
            recipe="benchbcss_nnunet:nnunet.yaml",
            requires=("nnunetv2",),
            extra="nnunet",
        ),
        "benchbcss_nnunet.backend:NnUnet",
    )
