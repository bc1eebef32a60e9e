"""What lesson 12 says about wrong labels and unequal classes: sentences and tables made from the numbers.

Every function is pure and returns Markdown. Shares are in percent where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.names import named
from kdlib.analysis.statistics import Interval, interval, points
from kdlib.analysis.tell import SEEN, change, comparison, direction, folded, level, listed, percent
from kdlib.analysis.tell import table as as_table


def noisy_labels(wrong: NDArray, rate: float) -> str:
    """How many labels are wrong, wrong (N,) bool, where `rate` in [0, 1] was asked for."""
    return f"Of {len(wrong)} labels {int(wrong.sum())} are wrong ({wrong.mean():.1%}; asked for: {rate:.0%})."


def learning(curves: Mapping[str, NDArray], mine: float, theirs: float) -> str:
    """How right and wrong labels are learned, see `noise.learning_of_labels`; test accuracies by hand and of `run`."""
    right, learned, through = (100 * curves[name] for name in curves)
    top = int(through.argmax())
    early = top < len(through) - 1 and through[-1] < through[top]
    then = f", and {through[-1]:.0f}% in the end" if early else ", the last one"
    return (
        f"{SEEN}Wrongly labelled samples get their *true* label most often in epoch {top + 1}, {through[top]:.0f}% of them"
        f"{then}. By that epoch the network has learned {right[top]:.0f}% of the right labels and {learned[top]:.0f}% of the "
        f"wrong ones; in the end {right[-1]:.0f}% and {learned[-1]:.0f}%. Test accuracy by hand {mine:.2f}%, by `run` "
        f"{theirs:.2f}%. "
        "One network."
    )


def kept(found: pd.DataFrame) -> str:
    """Wrong labels among the kept minus among all: pruning, label_noise, mean, half, n, in points; 0 is no difference."""
    rates = sorted(found.label_noise.unique())
    rows = []
    for name, part in found.groupby("pruning", sort=False):
        by_rate = {row.label_noise: Interval(row.mean_, row.half, int(row.n)) for row in _renamed(part).itertuples()}
        rows.append([named(str(name)), *(f"{by_rate[rate]}, {_more(by_rate[rate])}" for rate in rates)])
    header = ["kept by", *(f"{rate:.0%} wrong labels" for rate in rates)]
    return f"{SEEN}Share of wrong labels among the kept minus that among all, in points, 95% interval:\n\n" + as_table(
        header, rows
    )


def _renamed(found: pd.DataFrame) -> pd.DataFrame:
    return found.rename(columns={"mean": "mean_"})  # itertuples would hide it behind the method


def _more(found: Interval) -> str:
    words = {"rises": "more", "falls": "fewer", "no difference detected": "no difference detected"}
    return words.get(direction(found), direction(found))


def hardest(ranked: Mapping[str, ArrayLike], wrong: NDArray) -> str:
    """How many of each scorer's highest-scoring samples have a wrong label: name -> ids (k,), wrong (N,) bool."""
    told = [
        f"{named(name)} {int(wrong[np.asarray(ids)].sum())} of {len(np.asarray(ids))}" for name, ids in ranked.items()
    ]
    return (
        f"{SEEN}Wrong labels among the highest scores: {listed(told)}. Among all they are {wrong.mean():.0%}. One seed."
    )


def gains(differences: pd.DataFrame, trends: pd.DataFrame) -> str:
    """What KD adds without and with most noise, and whether its gain grows: pruning, label_noise, seed, difference; slope."""
    found = points(differences, ("pruning", "label_noise"), "difference")
    ends = found.label_noise.min(), found.label_noise.max()
    rows = []
    for name, part in trends.groupby("pruning", sort=False):
        at = {row.label_noise: Interval(row.mean_, row.half, int(row.n)) for row in _of(found, name).itertuples()}
        slope = interval(part.slope)
        rows.append([named(str(name)), *(str(at[end]) for end in ends), str(slope), direction(slope)])
    header = [
        "kept by",
        *(f"gain at {end:.0%} noise" for end in ends),
        "change of the gain per ten points of noise",
        "reading",
    ]
    return f"{SEEN}Accuracy with KD minus without, in points (n = {int(found.n.max())}):\n\n" + as_table(header, rows)


def _of(found: pd.DataFrame, pruning: object) -> pd.DataFrame:
    return _renamed(found[found.pruning == pruning])


def random_and_hard(found: pd.DataFrame, alphas: Mapping[float, str], noise: float) -> str:
    """Random pruning against each scorer at one rate of noise: columns pruning, alpha, label_noise, seed, test_acc."""
    at = found[found.label_noise == noise]
    lines = []
    for alpha, title in alphas.items():
        table = at[np.isclose(at.alpha, alpha)].pivot(index="seed", columns="pruning", values="test_acc")
        others = [name for name in dict.fromkeys(at.pruning) if name != "random"]
        told = [comparison("Random", named(name), interval(table["random"] - table[name])) for name in others]
        lines.append(f"- {title}: {' '.join(told)}")
    return f"With {noise:.0%} wrong labels:\n\n" + "\n".join(lines)


def teacher_on_wrong(logits: NDArray, given: NDArray, true: NDArray, who: str) -> str:
    """What a teacher says first of wrongly labelled samples: logits (N, K), given and true labels (N,)."""
    wrong = given != true
    first = logits[wrong].argmax(axis=1)
    return (
        f"Of the {int(wrong.sum())} wrongly labelled samples, {who} puts the true label first for "
        f"{(first == true[wrong]).mean():.0%} and the given one for {(first == given[wrong]).mean():.0%}."
    )


def own_or_clean(students: Mapping[str, ArrayLike], own: str, clean: str) -> str:
    """A teacher that was trained on the same wrong labels against one that saw the true ones: name -> (seeds,)."""
    by_name = {name: np.asarray(values) for name, values in students.items()}
    return comparison(f"The student of the {clean}", f"that of the {own}", interval(by_name[clean] - by_name[own]))


def imbalance(rows: Mapping[str, ArrayLike], steps: Sequence[tuple[str, str]], few: Mapping[str, ArrayLike]) -> str:
    """Accuracy differences on imbalanced data, and recall of the rarest classes.

    rows: name -> (seeds,) accuracy in percent; steps: (first, second) pairs to compare; few: name -> (seeds,) mean recall
    of the rarest classes in percent.
    """
    by_name = {name: np.asarray(values) for name, values in rows.items()}
    rare = {name: np.asarray(values) for name, values in few.items()}
    lines = [
        f"- {comparison(a, b, interval(by_name[a] - by_name[b]))} "
        f"{change('Recall of the rarest classes', interval(rare[a] - rare[b]))}"
        for a, b in steps
    ]
    levels = listed([f"{name} {level(interval(values))}" for name, values in rare.items()])
    return f"{SEEN}\n\n" + "\n".join(lines) + f"\n\nRecall of the rarest classes in percent: {levels}."


def kept_of_the_rare(shares: Mapping[str, ArrayLike], base: ArrayLike) -> str:
    """Share (percent) of the rarest classes among the kept samples: pruning -> (seeds,); base (seeds,) among all."""
    before = np.asarray(base)
    told = [
        f"{named(name)} {percent(interval(v))} ({_more(interval(np.asarray(v) - before))})"
        for name, v in shares.items()
    ]
    return (
        f"{SEEN}Without a quota for each class, the rarest classes are {before.mean():.0f}% of all samples, and of the "
        f"kept ones: {listed(told)}."
    )


def guess(word: str, share: Interval, base: float) -> str:
    """The answer of the predict exercise: wrong labels among the easiest samples in percent, folded."""
    text = (
        f"You guessed *{word}*. Among the easiest samples {percent(share)} of the labels are wrong, among all "
        f"{base:.0f}%. A wrong label has to look right to the network to count as easy."
    )
    return folded("Result", text)


def tried(alpha: float, found: Interval, plain: float) -> str:
    """What the reader's own alpha gives against alpha = `plain`."""
    return comparison(f"alpha = {alpha:g}", f"alpha = {plain:g}", found)
