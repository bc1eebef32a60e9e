"""What a lesson says about distillation beyond convolutional networks: sentences and tables made from the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import FALLS, RISES, SAME, SEEN, SIDES, Spread, comparison, direction, level, listed, number
from kdlib.analysis.tell import table as as_table

KEEPS = {  # which samples a score of a regression keeps
    "random": "drawn by lot",
    "el2n": "the mean error of early networks is largest",
    "difficulty": "the teacher's squared error is largest",
    "grand": "the loss of early networks has the longest gradient, in all weights",
    "grand_last": "the same in the last layer alone",
    "memorization": "models that were not trained on the sample err more than those that were",
    "herding": "picks so that the mean of the kept follows the mean of all",
    "herding_argmax": "always takes the farthest, as DeepCore's code does",
    "herding_centre": "nearest to the mean",
    "moderate": "at a middle distance from the mean",
    "k_center": "the next one is the farthest from those kept",
    "craig": "the gradients of the kept stand for all",
}


def scores(names: Iterable[str]) -> str:
    """What each score of a regression keeps, one line for each; distances are between the teacher's features."""
    return as_table(["keeps a meaning", "which samples it keeps"], [[f"`{name}`", KEEPS[name]] for name in names])


def _side(difference: Spread) -> str:
    """On which side of zero a difference between two kinds of training lies, as its interval says."""
    return SIDES.get(direction(difference), direction(difference))


def two_students(plain: Mapping[str, Any], taught: Mapping[str, Any]) -> str:
    """Two rows of `run` that differ in the teacher alone."""
    gap = taught["test_acc"] - plain["test_acc"]
    return (
        f"Two transformers on the same {plain['kept']} samples, for {plain['steps']} steps each. Without a teacher: "
        f"**{plain['test_acc']:.1f}%**; with a transformer of {taught['teacher_acc']:.1f}% as teacher: "
        f"**{taught['test_acc']:.1f}%**, {abs(gap):.1f} points {'more' if gap > 0 else 'less'}. One pair of students."
    )


def optimisers(found: Mapping[str, Sequence[float]]) -> str:
    """Test accuracies of equal networks under two optimisers, paired by seed: name -> (seeds,)."""
    first, second = found
    gap = interval(np.asarray(found[first]) - np.asarray(found[second]))
    rows = [[name, level(interval(values))] for name, values in found.items()]
    return f"{SEEN}\n\n{as_table(['optimiser', 'test accuracy (%)'], rows)}\n\n{comparison(first, second, gap)}"


def gains(found: Mapping[str, pd.DataFrame]) -> str:
    """What KD adds for each pair of networks: name -> columns fraction, mean, half, n."""
    rows, ways = [], []
    for name, table in found.items():
        for record in table.to_dict("records"):
            value = Interval(float(record["mean"]), float(record["half"]), int(record["n"]))
            ways.append(direction(value))
            rows.append([name, f"{record['fraction']:.0%}", number(value), _side(value)])
    count = {way: ways.count(way) for way in (RISES, FALLS)}
    return (
        f"{SEEN}{as_table(['pair', 'f', 'gain of KD (points)', 'reading'], rows)}\n\nA gain is "
        f"detected at {count[RISES]} of {len(ways)} points and a loss at {count[FALLS] or 'none'}. This holds for these two "
        f"teachers; the last two pairs share one."
    ).replace(SEEN, SEEN + "\n\n", 1)


def pairs(found: Mapping[tuple[str, str], Spread]) -> str:
    """Differences between gains, (first, second) -> paired difference in points: whether one gain is larger."""
    said = " ".join(comparison(first, second, value) for (first, second), value in found.items())
    return f"{said} All this is given these two teachers."


def regression(found: Mapping[str, tuple[Interval, Interval]], gains_of: Mapping[str, Interval], full: Interval) -> str:
    """Variance explained without and with KD, and the paired gain: name -> intervals in points of 100 R^2."""
    rows = [[n, level(a), level(b), number(gains_of[n]), _side(gains_of[n])] for n, (a, b) in found.items()]
    head = ["score", "without KD", "with KD", "gain of KD (points)", "reading"]
    return (
        f"{SEEN}Variance explained, in percent; all data without a teacher: {level(full)}. Given one teacher and one set of "
        f"scores:\n\n{as_table(head, rows)}"
    )


def against_random(found: Mapping[str, Mapping[str, Interval]]) -> str:
    """Scores against random samples: "without KD" -> name -> score minus random in points, paired by seed."""
    names = list(next(iter(found.values())))
    rows = [[name, *(f"{gaps[name]}, {_side(gaps[name])}" for gaps in found.values())] for name in names]
    count = len(names) * len(found)
    head = ["score minus random (points)", *found]
    return (
        f"{SEEN}\n\n{as_table(head, rows)}\n\nThese are {count} comparisons, each at 95%: without any difference about "
        f"{count / 20:.1f} would be detected by chance."
    )


def hard_samples(values: Mapping[str, Sequence[ArrayLike]], left_out: str) -> str:
    """How much a loss without KD is still a loss with KD: score -> variance explained (seeds,) without and with KD.

    A least-squares line over the scores within each seed, `left_out` apart: it lies far off and would decide alone.
    """
    gained = {name: float(np.mean(np.asarray(b) - np.asarray(a))) for name, (a, b) in values.items()}
    largest = max(gained, key=lambda name: gained[name])
    end = interval(values[largest][1])
    poor = ", but its students stay worse than the mean (below 0)" if direction(end) == FALLS else ""
    names = [name for name in values if name != left_out]
    without, with_kd = (np.array([values[name][k] for name in names]) for k in (0, 1))
    slopes = [np.polyfit(a, b, 1)[0] for a, b in zip(without.T, with_kd.T, strict=True)]
    lost = interval(10 * np.array(slopes))
    way = direction(Interval(lost.mean - 10, lost.half, lost.n))
    told = {RISES: "more than that", FALLS: "less than that", SAME: "no difference from that detected"}.get(way, way)
    return (
        f"The largest gain is {largest}'s{poor}. Over the {len(names)} scores without {left_out}, seed by seed: where the "
        f"samples alone explain 10 points less, students with KD explain {number(lost, sign=False)} points less: {told}."
    )


def quality(table: pd.DataFrame, pooled: Mapping[int, Spread], plain: Interval) -> str:
    """The gain by the teacher's epochs, with the spread of teachers and of students in it; columns as in the plot."""
    rows, below = [], []
    for epochs, value in pooled.items():
        accuracy = table[table.epochs == epochs].teacher_acc
        spread = str(Interval(value.mean, value.half, value.n))
        rows.append([epochs, f"{accuracy.mean():.1f}", spread, _side(value)])
        weak = int((accuracy < plain.mean).sum())
        below += [f"{weak} of {len(accuracy)} after {epochs} {'epoch' if epochs == 1 else 'epochs'}"] if weak else []
    count = f"{len(table) // len(pooled)} teachers x {int(table.n.max())} students"
    head = ["teacher's epochs", "its accuracy (%)", f"gain of KD (points, {count})", "reading"]
    ways = {way: [e for e, value in pooled.items() if direction(value) == way] for way in (RISES, FALLS)}
    gained, lost = (f"after {listed(ways[way])} epochs" if ways[way] else "for none" for way in (RISES, FALLS))
    return (
        f"{SEEN}\n\n{as_table(head, rows)}\n\nTeachers below the students' own {plain.mean:.1f}%: "
        f"{listed(below) or 'none'}. A gain is detected {gained}, a loss {lost}."
    )


def slope(table: pd.DataFrame, teachers: Sequence[int]) -> str:
    """Points of gain for each point of the teacher's accuracy, and from the shortest training to the longest.

    A least-squares slope and a difference for each seed of the teachers, which are the sample.
    """
    slopes, changes = [], []
    for seed in teachers:
        part = table[table.teacher_seed == seed].sort_values("epochs")
        if part.teacher_acc.nunique() > 1:
            slopes.append(np.polyfit(part.teacher_acc, part["mean"], 1)[0])
            changes.append(part["mean"].iloc[-1] - part["mean"].iloc[0])
    if not slopes:
        return "One stage of the teacher has no slope."
    per_point, whole = interval(slopes), interval(changes)
    size = number(per_point, 2).replace(" (n", " points for each point of the teacher's accuracy (n").removesuffix(")")
    return (
        f"Fitted by a line for each teacher seed, the gain changes by {size} teacher seeds): {direction(per_point)}. From "
        f"teachers of {table.epochs.min()} to those of {table.epochs.max()} epochs it changes by {number(whole)} points: "
        f"{direction(whole)}."
    )


def closing(kinds: Mapping[str, Iterable[Spread]]) -> str:
    """At how many places of each kind of experiment a gain of KD was detected: name of the places -> gains."""
    ways = {name: [direction(gain) for gain in found] for name, found in kinds.items()}
    told = [f"{way.count(RISES)} of {len(way)} {name}" for name, way in ways.items()]
    return f"Measured here: a gain of KD is detected for {listed(told)}."
