"""The thresholds of ``intervals.yaml``, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Limits:
    """See the comments in ``intervals.yaml``."""

    level: float
    fewest_effective_rois: float
    fewest_rois_off_the_edge: int
    degrees_off_the_edge: float
    fewest_pooled_rois: int
    fewest_rois_of_a_class_in_a_mean: int
    fewest_effective_rois_of_an_accuracy: float
    fewest_effective_institutes: float
    rule_of_three: float
    exact_up_to_rois: int
    fewest_rois_for_a_verdict: float


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # several times faster where built
LIMITS = Limits(
    **yaml.load((Path(__file__).parent / "intervals.yaml").read_text("utf-8"), Loader=_LOADER)
)
