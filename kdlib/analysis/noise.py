"""Wrong labels and unequal classes: who is kept, who is learned, who is recognised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.statistics import paired, points
from kdlib.analysis.tables import tidy
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of
from kdlib.experiments.run import kept_samples
from kdlib.store.artefacts import Store


def wrong_labels(r: Run) -> NDArray[np.bool_]:
    """Which training samples of the run have a label that `label_noise` has changed, (N,)."""
    return (dataset_of(r).train_y != dataset_of(replace(r, label_noise=0.0)).train_y).numpy()


def wrong_among_kept(runs: Iterable[Run], store: Store) -> pd.DataFrame:
    """The share of wrong labels among the samples that each run keeps; what the scores need is trained first.

    Columns dataset, scorer, centre, label_noise, fraction, seed, kept (count), base_rate and share (both in [0, 1]).
    """
    rows = []
    for r in runs:
        wrong, kept = wrong_labels(r), kept_samples(r, store)
        named = {name: getattr(r, name) for name in ("dataset", "scorer", "centre", "label_noise", "fraction", "seed")}
        rows.append({**named, "kept": len(kept), "base_rate": wrong.mean(), "share": wrong[kept].mean()})
    return pd.DataFrame(rows)


def learning_of_labels(predicted: ArrayLike, given: ArrayLike, true: ArrayLike) -> dict[str, NDArray]:
    """How a network learns noisy labels: predicted (E, N) classes by epoch, given (N,) and true (N,) labels -> shares (E,).

    "right labels": correct on samples whose label is true; "wrong labels, learned": predicts the given label of the others;
    "wrong labels, seen through": predicts their true label. ValueError where no label is wrong, or every one.
    """
    p, g, t = (np.asarray(values) for values in (predicted, given, true))
    wrong = g != t
    if wrong.all() or not wrong.any():
        raise ValueError("some labels must be wrong, and some right")
    return {
        "right labels": (p[:, ~wrong] == g[~wrong]).mean(axis=1),
        "wrong labels, learned": (p[:, wrong] == g[wrong]).mean(axis=1),
        "wrong labels, seen through": (p[:, wrong] == t[wrong]).mean(axis=1),
    }


def gains_under_noise(rows: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Accuracy with KD at `alpha` minus without, paired by seed: pruning, label_noise, seed, difference (points)."""
    table = tidy(rows, dimensions=("label_noise",))
    taught, plain = table[np.isclose(table.alpha, alpha)], table[table.alpha == 0]
    return paired(taught, plain, ("pruning", "label_noise"))


def accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy with its interval: pruning, alpha, label_noise, mean, half, n."""
    return points(tidy(rows, dimensions=("label_noise",)), ("pruning", "alpha", "label_noise"))


def class_recall(predicted: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray:
    """Percent of each class's samples that are recognised: predicted (N,), labels (N,) -> (K,); NaN for an absent class."""
    p, y = np.asarray(predicted), np.asarray(labels)
    count = np.bincount(y, minlength=num_classes).astype(np.float64)
    right = np.bincount(y[p == y], minlength=num_classes)
    return np.divide(100.0 * right, count, out=np.full(num_classes, np.nan), where=count > 0)
