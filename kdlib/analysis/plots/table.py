"""A plot of any sweep in one call, and the curves of one run."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kdlib.analysis.plots.accuracy import ACCURACY
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import interval
from kdlib.analysis.tables import DIMENSIONS, MixedRows, tidy
from kdlib.utils.errors import choose

LABELS = {
    "fraction": "kept fraction f (share of the training samples)",
    "test_acc": ACCURACY,
    "test_acc_best": "best test accuracy (%)",
    "alpha": r"KD weight $\alpha$ (no unit)",
    "tau": r"temperature $\tau$ (no unit)",
    "train_loss": "training loss (nats)",
}


def plot(rows: pd.DataFrame, x: str = "fraction", hue: str = "", style: str = "", y: str = "test_acc") -> Figure:
    """Mean of `y` against `x` with its 95% interval over seeds, a colour for each `hue`, a line style for each `style`.

    rows: what `sweep` or `load_rows` returns; `x`, `hue` and `style` are columns of it, or "pruning" (scorer with window).
    Fewer than three seeds have no interval. ValueError for an unknown column; MixedRows, a ValueError, where a point would
    average runs that differ in more than their seeds.
    """
    named = [name for name in (x, hue, style) if name]
    for name in (*named, y):
        choose("column", name, dict.fromkeys([*rows.columns, "pruning"]))
    table = tidy(rows, dimensions=[name for name in named if name not in (*DIMENSIONS, "scorer", "centre", "loss")])
    _refuse_mixed_points(table, named)
    figure, axis = plt.subplots(figsize=(6, 3.5))
    numeric = pd.api.types.is_numeric_dtype(table[x])
    looks = {"hue": hue or None, "style": style or None, "palette": PALETTE[: table[hue].nunique()] if hue else None}
    table = table.assign(**{name: table[name].astype(str) for name in (hue, style) if name})
    sns.lineplot(
        table if numeric else table.assign(**{x: table[x].astype(str)}),
        x=x, y=y, ax=axis, marker="o", errorbar=_spread, err_style="band" if numeric else "bars", **looks,
    )  # fmt: skip
    if numeric and (table[x] > 0).all() and table[x].max() >= 8 * table[x].min():
        axis.set_xscale("log")
        axis.set_xticks(np.unique(table[x]), [f"{value:g}" for value in np.unique(table[x])], minor=False)
        axis.minorticks_off()
    axis.set(xlabel=LABELS.get(x, x), ylabel=LABELS.get(y, y))
    counts = table.groupby(named, dropna=False).size()
    seeds = f"n = {counts.min()}" if counts.min() == counts.max() else f"n = {counts.min()} to {counts.max()}"
    if hue or style:
        axis.legend(fontsize=8, title=seeds, title_fontsize=8)
    else:
        axis.set_title(seeds, fontsize=8)
    return figure


def _spread(values: ArrayLike) -> tuple[float, float]:
    """The ends of the 95% interval; without one, the mean."""
    found = interval(values)
    return (found.low, found.high) if np.isfinite(found.half) else (found.mean, found.mean)


def _refuse_mixed_points(table: pd.DataFrame, named: list[str]) -> None:
    for name in ("pruning", "fraction", "alpha"):
        differing = table.groupby(named, dropna=False)[name].nunique()
        if (differing > 1).any():
            told = ", ".join(str(value) for value in sorted(table[name].unique(), key=str)[:5])
            raise MixedRows(
                f"a point would average runs that differ in {name!r} ({told}); name it as x, hue or style, "
                "or keep the rows of one value"
            )


def run_curves(curves: Mapping[str, ArrayLike]) -> Figure:
    """One run over its epochs: loss (nats), test accuracy (%, NaN where not measured) and learning rate, each (E,)."""
    figure, axes = plt.subplots(1, 3, figsize=(6, 2.4), layout="constrained")
    labels = {"loss": "mean loss (nats)", "test_acc": ACCURACY, "rate": "learning rate (no unit)"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        values = np.asarray(curves[name], dtype=np.float64)
        measured = np.isfinite(values)
        axis.plot(np.arange(1, len(values) + 1)[measured], values[measured], color=PALETTE[0], lw=1.5)
        axis.set(xlabel="epoch (count)", ylabel=label)
    return figure
