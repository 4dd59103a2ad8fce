"""Plots with matplotlib (extra ``plot``): each takes ``ax=``, gives it back, and can be told apart without colour.

Nothing global is changed: no style, no setting, and with ``ax=`` no figure of pyplot. Names from outside stand in
labels as they are: a ``$`` makes no formula, and what cannot be seen is spelled out.
"""

from __future__ import annotations

from modelkeep.plots.predictions import calibration, confusion, precision_recall, residuals, roc
from modelkeep.plots.training import curves, metric, tensor_change, trend

__all__ = [
    "calibration",
    "confusion",
    "curves",
    "metric",
    "precision_recall",
    "residuals",
    "roc",
    "tensor_change",
    "trend",
]
