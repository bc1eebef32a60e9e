"""What a lesson says about difficulty scores: sentences made from the numbers, so that they cannot disagree with them.

Every function is pure, takes the arrays or tables of a figure, and returns Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.names import NAMES
from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import SEEN, folded, listed, percent, table
from kdlib.scorers import Signals
from kdlib.scorers.dynamics import forgotten


def examples(groups: Mapping[str, NDArray], soft: NDArray, labels: NDArray, right: NDArray) -> str:
    """The label's share of the soft targets (N, K) in each group of ids; right: (R, N) at the end of the training."""
    shares = [f"{soft[ids, labels[ids]].mean():.0%} ({name})" for name, ids in groups.items()]
    count = listed(sorted({len(ids) for ids in groups.values()}))
    return (
        f"{SEEN}The label's mean share of the soft targets is {listed(shares)}, over {count} samples each. After "
        f"training, the networks have {right.mean():.1%} of these {right.shape[1]:,} training samples right."
    )


def toy(correct: NDArray, events: NDArray, border: NDArray, letters: Mapping[str, int]) -> str:
    """The toy: two wrong labels first in `letters`, then the most forgotten, then the never forgotten samples.

    correct: (E, N) bool; events, border: (N,), the distance to the line where both classes are equally likely.
    """
    names, ids = list(letters), list(letters.values())
    right = correct[:, ids].sum(axis=0)
    wrong = [f"{n} is right in {k} of {len(correct)} epochs" for n, k in zip(names[:2], right[:2], strict=True)]
    never = sum(k == 0 for k in right[:2])
    shaky, steady = ids[2:5], ids[5:]
    counts = ", ".join(f"{events[i]:.0f}" for i in shaky)
    last = f"{listed(names[5:])} are right from the first epoch to the last" if steady else "no sample is always right"
    return (
        f"{SEEN}Of the two wrong labels, {listed(wrong)}: {never} of them {'is' if never == 1 else 'are'} never learned, "
        f"so {'it has' if never == 1 else 'they have'} no event to count. Most often forgotten are {listed(names[2:5])} "
        f"({counts} events); their mean distance to the line between the classes is {border[shaky].mean():.2f}, that of "
        f"all samples {border.mean():.2f}. {last}."
    )


def never_learned(shares: pd.DataFrame, fraction: float, base_rate: float, epochs: int) -> str:
    """Never-learned samples among the kept by each rule (columns rule, fraction, run, share in percent)."""
    nearest = shares.fraction.iloc[(shares.fraction - fraction).abs().argmin()]
    at = shares[shares.fraction == nearest].pivot(index="run", columns="rule", values="share")[
        list(shares.rule.unique())
    ]
    said = [f"{percent(interval(at[rule]))} where it *{rule}*" for rule in at]
    apart = interval(at.iloc[:, 1] - at.iloc[:, 0])
    rest = (
        " The second share is below 100% where fewer samples are never learned than there are places: in a whole run, or in "
        "a class, since the cut is made inside each."
        if at.iloc[:, 1].mean() < 99.5
        else ""
    )
    return (
        f"{SEEN}After {epochs} epochs, {base_rate:.0f}% of the samples have never been right in a run. Among the hardest "
        f"{nearest:.0%} these are {listed(said)} (mean over {apart.n} runs, 95% interval). The record is the same: the "
        f"rule alone makes a difference of {apart} points.{rest}"
    )


def distributions(correct: NDArray, scores: Mapping[str, NDArray], early_epoch: int) -> str:
    """How rare forgetting is in the record correct (R, E, N), and how much of a score the hardest tenth has."""
    runs, epochs, total = correct.shape
    none = np.mean(forgotten(correct).sum(axis=1) == 0)
    top = {name: np.sort(scores[name])[-(total // 10) :].sum() / scores[name].sum() for name in ("forgetting", "el2n")}
    return (
        f"{SEEN}{total:,} samples, {runs} runs of {epochs} epochs; EL2N and GraNd look after epoch {early_epoch}. A run "
        f"never forgets {none:.0%} of the samples. The hardest tenth has {top['forgetting']:.0%} of all forgetting events "
        f"and {top['el2n']:.0%} of the total EL2N."
    )


def agreement(ranks: NDArray, shared: NDArray, names: Sequence[str], fraction: float, learned: float) -> str:
    """The range of rank correlations (S, S) and of shared kept samples (S, S), and the pairs at the ends.

    `learned`: the share of the training samples that the networks have right in the end.
    """
    upper = np.triu_indices(len(names), 1)

    def ends(values: NDArray, form: str) -> str:
        flat = values[upper]
        where = [(upper[0][k], upper[1][k]) for k in (flat.argmin(), flat.argmax())]
        pair = [
            f"{values[i, j]:{form}} ({NAMES.get(names[i], names[i])}, {NAMES.get(names[j], names[j])})"
            for i, j in where
        ]
        return f"{pair[0]} to {pair[1]}"

    return (
        f"{SEEN}Rank correlations run from {ends(ranks, '.2f')}. Of the hardest {fraction:.0%} two scorers share from "
        f"{ends(shared, '.0%')}; two random sets would share {fraction:.0%}. All {len(names)} read the same trainings, which "
        f"favours agreement.{_related(ranks, names, learned)}"
    )


def _related(ranks: NDArray, names: Sequence[str], learned: float) -> str:
    """Which of the scorers are relatives, so that their agreement says little."""
    told = " GraNd is EL2N times a factor." if {"grand", "el2n"} <= set(names) else ""
    if {"difficulty", "entropy"} <= set(names) and learned > 0.99:
        found = ranks[names.index("difficulty"), names.index("entropy")]
        if found > 0.95:
            told += (
                f" Difficulty and entropy almost coincide because these networks have {learned:.1%} of the training "
                "samples right; on noisy or larger data they need not."
            )
    return told


def reliability(halves: Mapping[str, Mapping[int, ArrayLike]]) -> str:
    """How the rank correlation of two groups of runs changes from one run in each to as many as there are."""
    most = max(next(iter(halves.values())))
    ends = {name: [float(np.asarray(by_k[k]).mean()) for k in (1, most)] for name, by_k in halves.items()}
    said = [
        f"{NAMES.get(name, name)} {one:.2f}" + (f" → {many:.2f}" if most > 1 else "")
        for name, (one, many) in ends.items()
    ]
    noisiest = min(ends, key=lambda name: ends[name][0])
    helped = sum(many > one for one, many in ends.values())
    more = (
        f" Averaging raises it for {helped} of {len(ends)} scorers, at one more training each time." if most > 1 else ""
    )
    size = f", from one run in each group to {most}" if most > 1 else ", with one run in each group"
    reason = "; its many ties can be part of the reason (next trap)" if noisiest == "forgetting" else ""
    least = f"From a single run, {NAMES.get(noisiest, noisiest)} agrees least with itself{reason}."
    return f"{SEEN}Mean rank correlation{size}: {listed(said)}.{more} {least}"


def ties(cases: Mapping[str, NDArray], same: Mapping[str, Sequence[float]], fractions: Sequence[float]) -> str:
    """A table: how many different values a score has, and how much of the kept set two drawn orders share."""
    rows = [[n, f"{len(np.unique(v)):,}", *(f"{s:.0%}" for s in same[n])] for n, v in cases.items()]
    return table(["score", "different values", *(f"kept by both cuts, f = {f:.0%}" for f in fractions)], rows)


def classes(counts: NDArray, names: Sequence[str], fraction: float) -> str:
    """The classes of which EL2N's hardest samples hold most and fewest."""
    most, fewest = int(counts.argmax()), int(counts.argmin())
    return (
        f"{SEEN}EL2N's hardest {fraction:.0%} hold {counts[most]} samples of class {names[most]} and {counts[fewest]} of "
        f"class {names[fewest]}; balanced, each class has about {counts.mean():.0f}. This is why `my_keep` cuts the window "
        "inside each class, as kdlib does unless told otherwise."
    )


def shares_at(found: pd.DataFrame, fraction: float, centre: float = 1.0) -> dict[str, Interval]:
    """scorer -> share of mislabelled samples (percent) in the window at `centre`, over the noise seeds."""
    at = found[(found.centre == centre) & np.isclose(found.fraction, fraction)]
    return {str(name): interval(share) for name, share in at.groupby("scorer", sort=False).share}


def label_noise(
    shares: pd.DataFrame, base_rate: float, noisy: Sequence[Signals], wrong: Sequence[NDArray], few: float
) -> str:
    """Wrong labels among the hardest samples and in the middle, and among the samples that are never learned."""
    middle_f = shares.fraction[shares.centre == 0.5].iloc[0]
    hardest, middle = shares_at(shares, few), shares_at(shares, middle_f, 0.5)
    said = [f"{NAMES.get(name, name)} {percent(found)}" for name, found in hardest.items()]
    lost = [~np.asarray(signal.correct).any(axis=1) for signal in noisy]  # (runs, N) for each noise seed
    broken = np.concatenate([w[np.nonzero(never)[1]] for w, never in zip(wrong, lost, strict=True)])
    never = (
        f"A run never learns {np.sum(lost, axis=2).mean():.0f} samples on average; {broken.mean():.0%} of these are "
        "mislabelled, and the two rules for forgetting send them to opposite ends of the ranking."
        if len(broken)
        else "Every run learns every sample, so that the two rules for forgetting agree."
    )
    return (
        f"{SEEN}{base_rate:.1f}% of all labels are wrong (dashed). Among the hardest {few:.0%} the share is: {listed(said)} "
        f"(n = {len(noisy)}, 95% interval). In EL2N's medium window: {percent(middle['el2n'])}. {never}"
    )


def attainable(wrong: float, fraction: float, dataset: str) -> str:
    """How many of the kept fraction can be mislabelled at all, when the share `wrong` of the labels is, and what follows."""
    most = min(1.0, wrong / fraction)
    reach = (
        "With few enough wrong labels, or a larger f, more than half could not be reached."
        if most > 0.5
        else "So more than half could not be reached."
    )
    return (
        f"\n\nWith {wrong:.1%} wrong labels and f = {fraction:.0%}, at most {most:.0%} of the kept samples can be mislabelled. "
        f"{reach} The verdict is about how forgetting finds wrong labels on {dataset}; it decides nothing about the paper's "
        "data, CIFAR-100 and SVHN."
    )


def early_or_late(guess: str, looks: NDArray) -> str:
    """Wrong labels (percent) that EL2N keeps when it looks early and late, (seeds, 2); folded, as a guess comes first."""
    early, late = looks.mean(axis=0)
    found = interval(looks[:, 1] - looks[:, 0])
    verdict = "more" if found.low > 0 else "fewer" if found.high < 0 else "as many, as far as these runs can tell"
    text = (
        f"You guessed *{guess}*. Early: {early:.0f}%, last: {late:.0f}%, a difference of {found} points "
        f"(n = {found.n}): **{verdict}**. What has the network done with the wrong labels meanwhile?"
    )
    return folded("Result", text)
