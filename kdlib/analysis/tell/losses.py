"""What lesson 08 says about distillation losses: sentences and tables made from the numbers.

Every function is pure, takes the tables of `kdlib.analysis.loss_effects` and returns Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from kdlib.analysis.loss_effects import Winner, two_sided
from kdlib.analysis.plots.losses import named
from kdlib.analysis.statistics import Estimate, Interval, holm
from kdlib.analysis.tell import SEEN, change, comparison, direction, enough_digits, folded, listed, number
from kdlib.analysis.tell import table as as_table

NEAR_CHANCE = 1.5  # times the accuracy of guessing: a training that ends below has failed
LEVEL = 0.05  # of a two-sided test, so that "detected" is "the 95% interval leaves out zero"

# What each loss of the paper's Table 1 compares between student and teacher.
COMPARES = {
    "fitnets": "maps, after a learnt layer",
    "ab": "which units are active",
    "at": "where the maps are large",
    "ft": "a compressed code of the maps, made by a small network, the paraphraser",
    "fsp": "products of the maps of two stages",
    "nst": "distributions of the channels",
    "pkt": "which samples resemble each other, as probabilities",
    "rkd": "distances and angles between samples",
    "sp": "similarities of pairs of samples in a batch",
    "vid": "the maps, predicted with a learnt variance",
}


def methods(weights: Mapping[str, float]) -> str:
    """What each loss compares, and its weight in the paper and in the public code: loss -> the code's weight."""
    rows = [[named(name), COMPARES[name], "1", f"{beta:g}"] for name, beta in weights.items()]
    return as_table(["loss", "it compares", r"$\beta$ of the paper", r"$\beta$ of the public code"], rows)


def two_students(plain: Mapping[str, Any], added: Mapping[str, Any]) -> str:
    """Two rows of `run`: plain KD, and KD with a feature loss."""
    gap = added["test_acc"] - plain["test_acc"]
    name = named(added["feature_loss"])
    way = "above" if gap > 0 else "below" if gap < 0 else "at"
    return (
        f"Both students see the same {plain['kept']} samples and the same teacher ({plain['teacher_acc']:.1f}%). Plain KD: "
        f"**{plain['test_acc']:.1f}%**. With {name} beside it: **{added['test_acc']:.1f}%**, {abs(gap):.1f} points {way}. "
        "One student each, so nothing follows yet."
    )


def shapes(student: Sequence[Any], teacher: Sequence[Any]) -> str:
    """The shapes of the maps of student and teacher, each a sequence of tensors (B, C, H, W)."""
    rows = [
        [
            "stem" if k == 0 else f"stage {k}",
            *(f"{m.shape[1]} channels, {m.shape[2]}x{m.shape[3]} positions" for m in pair),
        ]
        for k, pair in enumerate(zip(student, teacher, strict=True))
    ]
    return as_table(["map", "student", "teacher"], rows)


def resemblance(correlations: Mapping[str, Sequence[float]]) -> str:
    """How far the maps of each network agree with the teacher's: name -> one correlation for each map."""
    said = [
        f"{name}: {listed([f'{value:.2f}' for value in values])}" for name, values in correlations.items()
    ]  # one value a stage
    return (
        f"{SEEN}Correlation of the attention maps with the teacher's, over all positions of all kept samples, from the "
        f"first stage to the last. {'; '.join(said)}."
    )


def gradients(found: pd.DataFrame, threshold: float = 0.1) -> str:
    """Which losses hardly act: columns feature_loss, weight, seed, ratio; `threshold` is a share of CE + KD's gradient."""
    lines = []
    for weight, part in found.groupby("weight", sort=False):
        ratios = part.groupby("feature_loss", sort=False).ratio
        middle, low, high = ratios.median(), ratios.min(), ratios.max()
        weak, strong = high[high < threshold], low[low > 1]
        least, most = middle.idxmin(), middle.idxmax()
        lines.append(
            f"- {weight}: medians from {middle[least]:.2g} ({named(least)}) to {middle[most]:.2g} ({named(most)}) times the "
            f"gradient of CE + KD. Below {threshold:.0%}: {listed([named(n) for n in weak.index]) or 'none'}. Above that of "
            f"CE + KD: {listed([named(n) for n in strong.index]) or 'none'}."
        )
    count = found.seed.nunique()
    return f"{SEEN}A loss is named below or above where all {count} networks agree:\n\n" + "\n".join(lines)


def by_hand(beta: float, losses: Sequence[float], mine: float, theirs: float) -> str:
    """Weight of AT, mean loss of each epoch, and both accuracies in percent, of the student that was trained by hand."""
    way = "falls" if losses[-1] < losses[0] else "does not fall"
    return (
        f"{SEEN}With weight {beta:g} on AT the loss {way}: {losses[0]:.2f} in the first epoch, {losses[-1]:.2f} in the last. "
        f"Accuracy by hand {mine:.2f}%, by `run` {theirs:.2f}%."
    )


def added(found: pd.DataFrame, plain: Mapping[float, Interval], without: Mapping[float, Interval]) -> str:
    """How many losses differ from plain KD, before and after Holm; `plain` and `without` KD: accuracy (%) by f."""
    known = found[found.p.notna()]
    levels = [
        f"f = {f:.0%}: {number(without[f], sign=False)} without KD, {number(plain[f], sign=False)} with plain KD"
        for f in plain
    ]
    text = f"{SEEN}Accuracy in percent at {'; '.join(levels)}."
    if known.empty:
        return f"{text} Too few seeds for an interval of what the other losses add."
    top, low = found.loc[found["mean"].idxmax()], found.loc[found["mean"].idxmin()]
    ends = listed([f"{_effect(row)} ({_which(row)})" for row in (top, low)])
    lines = [f"{text} Largest and smallest difference to plain KD in points: {ends}."]
    for p, words in (("p", "Each interval by itself"), ("p_holm", f"After Holm over all {len(found)} comparisons")):
        above, below = (known[(known[p] <= LEVEL) & (sign * known["mean"] > 0)] for sign in (1, -1))
        lines.append(f"- {words}: {len(above)} above plain KD{_list(above)}, {len(below)} below{_list(below)}.")
    return "\n".join([lines[0], "", *lines[1:]])


def _list(part: pd.DataFrame) -> str:
    return f" ({'; '.join(_which(row) for _, row in part.iterrows())})" if 0 < len(part) <= 4 else ""


def _which(row: pd.Series) -> str:
    return f"{named(row.feature_loss)}, weight {row.beta:g}, f = {row.fraction:.0%}"


def _effect(row: pd.Series) -> str:
    return str(Interval(row["mean"], row.half, int(row.n)))


def winners(found: Mapping[str, Winner], names: Sequence[str], seeds: int) -> str:
    """What is left of the best loss's lead on seeds that did not choose it: label of a table -> Winner."""
    rows = []
    for label, winner in found.items():
        counts = np.bincount(winner.method, minlength=len(names))
        often = f"{named(names[int(counts.argmax())])} ({counts.max()} of {counts.sum()} splits)"
        chosen, fresh = winner.chosen.mean(), winner.fresh.mean()
        rows.append(
            [label, f"{chosen:+.1f}", f"{fresh:+.1f}", f"{chosen - fresh:+.1f}", often, int((counts > 0).sum())]
        )
    by_construction = (
        " Averaged over all halvings the lead can never be larger on the seeds that did not choose, since each half takes "
        "both parts in turn; only the size of the loss says something."
        if seeds % 2 == 0
        else ""
    )
    text = (
        f"{SEEN}Lead of the best of {len(names)} losses in points, mean over all splits of {seeds} seeds.{by_construction} "
        "The splits share seeds, so no interval is given.\n\n"
    )
    header = ["table", "choosing seeds", "other seeds", "luck", "most frequent winner", "different winners"]
    return text + as_table(header, rows)


def stages(found: Mapping[str, Interval], seeds: int) -> str:
    """With an initial stage minus without: name of the loss -> difference in points."""
    lines = [f"- {change(f'With the stage, accuracy with {named(name)}', gap)}" for name, gap in found.items()]
    return f"{SEEN}Same weight, same {seeds} seeds:\n\n" + "\n".join(lines)


def doubts(share: Sequence[float], weight: float, tau: float) -> str:
    """The factor that KD puts on the other classes: what the teacher leaves them, one value for each kept sample."""
    v = np.asarray(share)
    return (
        f"{SEEN}At $\\tau$ = {tau:g} this teacher leaves the other classes {v.mean():.2f} on average over the kept samples "
        f"(from {v.min():.2f} to {v.max():.2f}). That is KD's weight on them; DKD's is {weight:g} for every sample."
    )


def control(found: Mapping[float, Mapping[str, Interval]]) -> str:
    """Each loss at beta = 1 minus KD with weight 1 and nothing beside it: f -> loss -> difference in points."""
    lines = []
    for fraction, gaps in found.items():
        groups: dict[str, list[str]] = {}
        for name, gap in gaps.items():
            groups.setdefault(direction(gap), []).append(
                f"{named(name)} ({number(gap, enough_digits(gap)).split(' (n')[0]})"
            )
        told = "; ".join(f"{way}: {listed(names)}" for way, names in groups.items())
        lines.append(f"- f = {fraction:.0%}, {told}.")
    return (
        "**The control.** From KD with weight 1 to the same with a loss at weight 1, the accuracy in points:\n\n"
        + "\n".join(lines)
        + f"\n\n{_after_holm(found)}"
    )


def _after_holm(found: Mapping[float, Mapping[str, Interval]]) -> str:
    """How many of the control's comparisons are left after Holm's correction over all of them."""
    places = {f"{named(name)} at f = {f:.0%}": gap for f, gaps in found.items() for name, gap in gaps.items()}
    p = [
        two_sided(Estimate(gap.mean, gap.half / stdtrit(gap.n - 1, 0.975), gap.n - 1, gap.n)) for gap in places.values()
    ]
    left = [place for place, value in zip(places, holm(p), strict=True) if value <= LEVEL]
    each = max(len(gaps) for gaps in found.values())
    return (
        f"All {each} comparisons at one f share the same control students: if these were lucky, all {each} look worse at "
        "once. So count no single line here as detected before Holm's correction. Detected after it, over all "
        f"{len(places)}: {listed(left) or 'none'}."
    )


def decoupled(panels: Mapping[str, pd.DataFrame], chance: float) -> str:
    """DKD minus KD at each weight and f: title -> columns weight, fraction, mean, half, n, level (DKD's accuracy, %).

    An accuracy near `chance` (percent) is that of a training that failed.
    """
    lines = []
    for title, found in panels.items():
        for weight, part in found.groupby("weight"):
            groups: dict[str, list[str]] = {}
            for _, row in part.iterrows():
                value = Interval(row["mean"], row.half, int(row.n))
                groups.setdefault(direction(value), []).append(f"f = {row.fraction:.0%} ({value})")
            told = "; ".join(f"{way} at {listed(where)}" for way, where in groups.items())
            near = part[part.level < NEAR_CHANCE * chance].itertuples()
            failed = listed([f"{row.level:.0f}% at f = {row.fraction:.0%}" for row in near])
            note = f" The training failed: accuracy {failed}, where chance gives {chance:.0f}%." if failed else ""
            lines.append(f"- {title}, weight {weight:g}: {told}.{note}")
    return (
        f"{SEEN}From KD to DKD the accuracy, in points (n = {seeds_of(pd.concat(panels.values()))}):\n\n"
        + "\n".join(lines)
    )


def seeds_of(found: pd.DataFrame) -> str:
    """The number of seeds behind a table, or its range."""
    low, high = int(found.n.min()), int(found.n.max())
    return f"{low}" if low == high else f"{low} to {high}"


def beside(paper: pd.DataFrame, ours: pd.DataFrame) -> str:
    """The paper's largest lead and ours on CIFAR-100, and which comparisons have no rows of ours yet."""
    best = paper.loc[paper.groupby("fraction")["mean"].idxmax()]
    told = listed(
        [f"{named(row.feature_loss)} at f = {row.fraction:.0%} ({row['mean']:+.1f})" for _, row in best.iterrows()]
    )
    text = f"{SEEN}In the paper's table {told} {'have' if len(best) > 1 else 'has'} the largest lead over plain KD."
    both = paper.merge(ours, on=["feature_loss", "fraction"], suffixes=("_paper", "_ours"))
    missing = len(paper) - len(both)
    rows = [
        [named(row.feature_loss), f"{row.fraction:.0%}", f"{row.mean_paper:+.1f}",
         str(Interval(row.mean_ours, row.half_ours, row.n_ours)), f"{row.mean_ours - row.mean_paper:+.1f}"]
        for row in both.itertuples()
    ]  # fmt: skip
    lack = f" Not measured yet by us on CIFAR-100: {missing} of {len(paper)} comparisons." if missing else ""
    header = ["loss", "f", "paper: minus plain KD", "ours", "ours minus paper"]
    return text + lack + ("\n\n" + as_table(header, rows) if rows else "")


def smaller_batch(guess: str, values: Mapping[int, float]) -> str:
    """The value of a loss for batches of two sizes (largest first), folded: size -> value."""
    (large, first), (small, second) = values.items()
    way = "larger" if second > first else "smaller"
    text = (
        f"You guessed *{guess}*. PKT's value is {first:.2g} for a batch of {large} samples and {second:.2g} for one of "
        f"{small}: {way}, {second / first:.1f} times. Over how many entries does its mean run, and how large is an entry?"
    )
    return folded("Result", text)


def tried(name: str, beta: float, found: Interval) -> str:
    """What the reader's own loss adds to plain KD."""
    return comparison(f"{named(name)} with weight {beta:g}", "plain KD", found)
