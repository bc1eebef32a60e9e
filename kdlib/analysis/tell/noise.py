"""What lesson 12 says about wrong labels and unequal classes: sentences and tables made from the numbers.

Every function is pure and returns Markdown. Shares are in percent where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.names import named
from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import RISES, SEEN, comparison, direction, folded, level, listed, percent
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


def kept(found: pd.DataFrame, fraction: float) -> str:
    """Wrong labels among the kept minus among all: pruning, label_noise, mean, half, n, in points; 0 is no difference.

    fraction: the share of the samples that is kept, which bounds what can be wrong.
    """
    rates = sorted(found.label_noise.unique())
    rows = []
    for name, part in found.groupby("pruning", sort=False):
        by_rate = {row.label_noise: Interval(row.mean_, row.half, int(row.n)) for row in _renamed(part).itertuples()}
        rows.append([named(str(name)), *(f"{by_rate[rate]}, {_more(by_rate[rate])}" for rate in rates)])
    header = ["kept by", *(f"{rate:.0%} wrong labels" for rate in rates)]
    most = listed([f"{min(1, rate / fraction):.0%} at {rate:.0%} noise" for rate in rates])
    return (
        f"{SEEN}Share of wrong labels among the kept minus that among all, in points, 95% interval:\n\n"
        f"{as_table(header, rows)}\n\nA share has a ceiling: of the kept {fraction:.0%} at most about {most} can be wrong."
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


def gains(differences: pd.DataFrame) -> str:
    """What KD adds at each rate of noise, and from each rate to the next: pruning, label_noise, seed, difference (points)."""
    rates = sorted(differences.label_noise.unique())
    rows = []
    for name, part in differences.groupby("pruning", sort=False):
        by_seed = part.pivot_table(index="seed", columns="label_noise", values="difference")
        at = [str(interval(by_seed[rate])) for rate in rates]
        steps = {(a, b): interval(by_seed[b] - by_seed[a]) for a, b in zip(rates[:-1], rates[1:], strict=True)}
        told = [f"{direction(step)} from {a:.0%} to {b:.0%} ({step})" for (a, b), step in steps.items()]
        rows.append([named(str(name)), *at, "; ".join(told)])
    header = ["kept by", *(f"gain at {rate:.0%} noise" for rate in rates), "from each rate to the next"]
    count = differences.seed.nunique()
    return f"{SEEN}Accuracy with KD minus without, in points (n = {count}):\n\n" + as_table(header, rows)


def below_chance(found: pd.DataFrame, classes: int, titles: Mapping[float, str]) -> str:
    """Whether students are worse than chance: pruning, alpha, label_noise, mean, half, n (accuracies in percent)."""
    low = found[found["mean"] + found.half < 100 / classes]
    if low.empty:
        return f"No accuracy is detected below chance ({100 / classes:.0f}%)."
    places: dict[str, list[str]] = {}
    for row in low.itertuples():
        places.setdefault(f"{titles[float(row.alpha)]}, {named(row.pruning)}", []).append(f"{row.label_noise:.0%}")
    told = "; ".join(f"{where} at {listed(rates)} wrong labels" for where, rates in places.items())
    return (
        f"Below chance ({100 / classes:.0f}%): {told}. A student whose labels are nearly all wrong learns to avoid the true "
        "class."
    )


def without_teacher(students: Mapping[str, ArrayLike], plain: str, smoothed: str, taught: str) -> str:
    """How much of the gain of `taught` over `plain` label smoothing has without any teacher: name -> (seeds,) in percent."""
    by_name = {name: np.asarray(values, dtype=np.float64) for name, values in students.items()}
    soft, gain = by_name[smoothed] - by_name[plain], by_name[taught] - by_name[plain]
    if direction(interval(soft - gain / 2)) == RISES and direction(interval(gain)) == RISES:
        end = "most of the gain needs no teacher"
    elif direction(interval(soft)) == RISES:
        end = "it gains without a teacher"
    else:
        end = "no gain without a teacher is detected"
    return f"{smoothed} minus {plain}: {interval(soft)} points: {end}."


def names_the_truth(shares: Mapping[str, ArrayLike]) -> str:
    """How often each kind of target puts the true class first: name -> (seeds,) in percent of the samples."""
    told = [f"{name} {level(interval(values))}" for name, values in shares.items()]
    return f"The target puts the true class first for, in percent of all samples: {listed(told)}."


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


def imbalance(
    rows: Mapping[str, ArrayLike], steps: Sequence[tuple[str, str]], few: Mapping[str, ArrayLike], count: int
) -> str:
    """Accuracy differences on imbalanced data, and recall of the `count` rarest classes.

    rows: name -> (seeds,) accuracy in percent; steps: (first, second) pairs to compare; few: name -> (seeds,) mean recall
    of the rarest classes in percent.
    """
    by_name = {name: np.asarray(values) for name, values in rows.items()}
    rare = {name: np.asarray(values) for name, values in few.items()}
    lines = [
        f"- {comparison(a, b, interval(by_name[a] - by_name[b]))} "
        f"{comparison(f'In the recall of the {count} rarest classes {a}', b, interval(rare[a] - rare[b]))}"
        for a, b in steps
    ]
    levels = listed([f"{name} {level(interval(values))}" for name, values in rare.items()])
    return f"{SEEN}\n\n" + "\n".join(lines) + f"\n\nRecall of the {count} rarest classes in percent: {levels}."


def kept_of_the_rare(shares: Mapping[str, ArrayLike], base: ArrayLike, count: int) -> str:
    """Share (percent) of the `count` rarest classes among the kept samples: pruning -> (seeds,); base (seeds,) among all."""
    before = np.asarray(base)
    told = [
        f"{named(name)} {level(interval(v))} ({_more(interval(np.asarray(v) - before))})" for name, v in shares.items()
    ]
    return (
        f"{SEEN}Without a quota for each class, the {count} rarest classes are {before.mean():.1f}% of all samples, and of "
        f"the kept ones, in percent: {listed(told)}."
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
