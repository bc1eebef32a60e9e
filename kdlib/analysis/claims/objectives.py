"""Claims about what the student is trained on: feature losses (D12) and reshaped logits (M3, M4, M8)."""

from __future__ import annotations

import pandas as pd

from kdlib.analysis.claims.cells import Cells, Runs, cells, gap, judge
from kdlib.analysis.claims.specification import Claim
from kdlib.analysis.claims.verdict import Effect, Verdict
from kdlib.losses import FEATURE_LOSSES

PLAIN = "none"


def vid_is_best(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D12: VID minus each other loss lies above 0 at each fraction, with weight 1 and with the weights tuned elsewhere.

    The paper weighs every feature loss by 1, at which some have next to no effect; the best of the list should be the
    best with each method's own weight, too. KD alone has twice the weight, as in the paper.
    """
    if "beta" not in rows:
        return judge(cells(rows, claim), [], ["column beta"])
    rows = rows.assign(feature_loss=rows.feature_loss.map(lambda text: text.split("(")[0]))
    points = cells(rows, claim, free=("feature_loss", "beta"), fixed={"weighting": "additive"})
    alpha, (fractions, missing) = float(claim.alphas[0]), points.fractions()
    effects: list[Effect] = []
    for f in fractions:
        vid = points.point(claim.prunings[0], f, alpha, feature_loss="vid", beta=1.0)
        for name in claim.option("others"):
            for weight, runs in _by_weight(points, name, f, alpha).items():
                effects.append(gap(f"vid - {name} ({weight}), f = {f:g}", vid, runs))
    return judge(points, effects, missing)


def _by_weight(points: Cells, name: str, fraction: float, alpha: float) -> dict[str, Runs]:
    pruning = points.claim.prunings[0]
    if name == "kd":
        betas = points.values("beta", feature_loss=PLAIN)
        return {
            "alpha 2": points.point(pruning, fraction, 2 * alpha, feature_loss=PLAIN, beta=betas[0]) if betas else {}
        }
    tuned = FEATURE_LOSSES[name].tuned_beta
    weights = {"beta 1": 1.0} if tuned == 1 else {"beta 1": 1.0, f"tuned beta {tuned:g}": tuned}
    return {
        text: points.point(pruning, fraction, alpha, feature_loss=name, beta=beta) for text, beta in weights.items()
    }


def reshaping_adds(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M3: class-wise reshaping adds accuracy to medium samples at each fraction."""
    return _reshaped(rows, claim, {}, dict.fromkeys(claim.option("reshape"), 1))


def only_classwise_adds(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M4: the known reshapings lower accuracy on pruned data, the class-wise one raises it."""
    signs = {**dict.fromkeys(claim.option("lowers"), -1), **dict.fromkeys(claim.option("raises"), 1)}
    return _reshaped(rows, claim, {}, signs)


def _reshaped(rows: pd.DataFrame, claim: Claim, fixed: dict[str, object], signs: dict[str, int]) -> Verdict:
    points = cells(rows, claim, free=("reshape",), fixed=fixed)
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    if alpha is None or not fractions:
        return judge(points, [], missing or [f"KD weight {claim.alphas[0]}, f {claim.fractions}"])
    effects = []
    for f in fractions:
        plain = points.point(claim.prunings[0], f, alpha, reshape=PLAIN)
        for name, sign in signs.items():
            other = points.point(claim.prunings[0], f, alpha, reshape=name)
            sides = (other, plain) if sign > 0 else (plain, other)
            effects.append(gap(f"{name} - none, f = {f:g}" if sign > 0 else f"none - {name}, f = {f:g}", *sides))
    return judge(points, effects, missing)


def reshaping_on_imbalanced(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M8: on imbalanced data class-wise reshaping beats plain KD, and reshaping by the mean of the classes beats both."""
    uneven = _uneven(rows)
    if not uneven.any():
        return judge(cells(rows.iloc[:0], claim), [], ["runs on imbalanced data"])
    points = cells(rows[uneven], claim, free=("reshape", "imbalance"))
    alpha, (fractions, _) = points.alpha(), points.fractions()
    own, mean = claim.option("class")[0], claim.option("mean")[0]
    effects = []
    for f in fractions:
        for pruning in points.values("pruning", fraction=f):
            for ratio in points.values("imbalance", pruning=pruning, fraction=f):
                runs = {
                    r: points.point(pruning, f, alpha or 0.0, reshape=r, imbalance=ratio) for r in (PLAIN, own, mean)
                }
                where = f"{pruning}, f = {f:g}" + (f", imbalance {ratio:g}" if ratio > 1 else "")
                effects.append(gap(f"class-wise - plain KD, {where}", runs[own], runs[PLAIN]))
                effects.append(gap(f"dataset mean - class-wise, {where}", runs[mean], runs[own]))
    return judge(points, effects)


def _uneven(rows: pd.DataFrame) -> pd.Series:
    """Whether a student's classes are of unequal size: the data are imbalanced, or only what is kept of them."""
    found = pd.Series(False, rows.index)
    if "imbalance" in rows:
        found |= rows.imbalance.fillna(1.0) > 1
    if "selection" in rows:
        found |= rows.selection.fillna("").str.startswith("imbalanced")
    return found
