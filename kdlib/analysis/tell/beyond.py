"""What a lesson says about distillation beyond convolutional networks: sentences and tables made from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import FALLS, FEW, RISES, SAME, SEEN, Spread, change, direction, level, listed, number
from kdlib.analysis.tell import table as as_table


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
    return f"{SEEN}\n\n{as_table(['optimiser', 'test accuracy (%)'], rows)}\n\n" + change(
        f"From {second} to {first} the accuracy", gap
    )


def gains(found: Mapping[str, pd.DataFrame]) -> str:
    """What KD adds for each pair of networks: name -> columns fraction, mean, half, n."""
    rows, ways = [], []
    for name, table in found.items():
        for record in table.to_dict("records"):
            value = Interval(float(record["mean"]), float(record["half"]), int(record["n"]))
            ways.append(direction(value))
            rows.append([name, f"{record['fraction']:.0%}", number(value), direction(value)])
    count = {way: ways.count(way) for way in (RISES, FALLS)}
    return (
        f"{SEEN}{as_table(['pair', 'f', 'gain of KD (points)', 'reading'], rows)}\n\nA gain is "
        f"detected at {count[RISES]} of {len(ways)} points and a loss at {count[FALLS] or 'none'}. This holds for these "
        f"teachers, one for each pair."
    ).replace(SEEN, SEEN + "\n\n", 1)


def pairs(found: Mapping[str, Spread]) -> str:
    """Differences between gains, name -> paired difference in points: whether one pair gains more than another."""
    return " ".join(change(name, value) for name, value in found.items())


def regression(found: Mapping[str, tuple[Interval, Interval]], gains_of: Mapping[str, Interval], full: Interval) -> str:
    """Variance explained without and with KD, and the paired gain: name -> intervals in points of 100 R^2."""
    rows = [[n, level(a), level(b), number(gains_of[n]), direction(gains_of[n])] for n, (a, b) in found.items()]
    head = ["score", "without KD", "with KD", "gain of KD (points)", "reading"]
    return (
        f"{SEEN}Variance explained, in percent; all data without a teacher: {level(full)}. Given one teacher and one set of "
        f"scores:\n\n{as_table(head, rows)}"
    )


def against_random(found: Mapping[str, Mapping[str, Interval]]) -> str:
    """Which scores beat random samples or lose to them: "without KD" -> name -> score minus random, paired."""
    said = []
    for kind, gaps in found.items():
        ways = {way: [n for n, value in gaps.items() if direction(value) == way] for way in (RISES, FALLS, SAME, FEW)}
        said.append(
            f"{kind}, better than random: {listed(ways[RISES]) or 'none'}; worse: {listed(ways[FALLS]) or 'none'}; no "
            f"difference detected: {listed(ways[SAME]) or 'none'}"
            + (f"; too few for an interval: {listed(ways[FEW])}" if ways[FEW] else "")
        )
    return f"{SEEN}{'. '.join(text[0].upper() + text[1:] for text in said)}."


def hard_samples(largest: str, gains_of: Mapping[str, Interval], without: Mapping[str, Interval]) -> str:
    """Whether KD adds most where the kept samples alone serve worst: rank correlation over the scores."""
    names = list(gains_of)
    a, b = (np.argsort(np.argsort([part[n].mean for n in names])) for part in (without, gains_of))
    r = float(np.corrcoef(a, b)[0, 1])
    return (
        f"The largest gain is {largest}'s. Over the {len(names)} scores, the accuracy without KD and the gain have a rank "
        f"correlation of {r:+.2f}."
    )


def quality(table: pd.DataFrame, pooled: Mapping[int, Spread], plain: Interval) -> str:
    """The gain by the teacher's epochs, with the spread of teachers and of students in it; columns as in the plot."""
    rows = []
    for epochs, value in pooled.items():
        accuracy = table[table.epochs == epochs].teacher_acc
        rows.append([epochs, f"{accuracy.mean():.1f}", number(value), direction(value)])
    head = ["teacher's epochs", "its accuracy (%)", "gain of KD (points)", "reading"]
    ways = {way: [e for e, value in pooled.items() if direction(value) == way] for way in (RISES, FALLS)}
    worse = sorted(table[table.teacher_acc < plain.mean].epochs.unique())
    said = [f"teachers below the students' own {plain.mean:.1f}%: epochs {listed(worse) or 'none'}"]
    said.append(f"a gain is detected at {listed(ways[RISES]) or 'none'}, a loss at {listed(ways[FALLS]) or 'none'}")
    return f"{SEEN}\n\n{as_table(head, rows)}\n\n{'; '.join(said).capitalize()}."


def slope(table: pd.DataFrame, teachers: Sequence[int]) -> str:
    """Points of gain for each point of the teacher's accuracy, a least-squares slope for each seed of the teachers."""
    found = []
    for seed in teachers:
        part = table[table.teacher_seed == seed]
        found.append(np.polyfit(part.teacher_acc, part["mean"], 1)[0] if part.teacher_acc.nunique() > 1 else np.nan)
    value = interval([v for v in found if np.isfinite(v)])
    return change("For each point of the teacher's accuracy the gain", value, "points", 2).replace(
        "(n =", "(teachers, n ="
    )
