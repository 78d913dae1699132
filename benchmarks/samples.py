"""Medians and quantiles of what was measured."""

from __future__ import annotations

import math
from statistics import median
from typing import Sequence

__all__ = ["median", "quantile"]


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least this share of the samples does not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
