"""Selection rules and InfoBatch against the reference numbers, see `score_adapters`."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from kdlib.selection.infobatch import InfoBatch, soft_prune
from kdlib.selection.rules import (
    class_quotas,
    keep_quotas,
    keep_range,
    keep_stratified,
    strata_of,
    stratum_budgets,
)

Case = dict[str, Any]
Inputs = dict[str, Any]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def ccs(case: Case, inputs: Inputs) -> Case:
    scores, hardness, params = inputs["score"], -inputs["aum"], case["params"]
    n, removed, strata = len(scores), params["mis_num"], params["strata"]
    kept = keep_stratified(
        scores, params["coreset_num"] / n, cut=removed / n, cut_scores=hardness, strata=strata, rng=generator()
    )
    left = keep_range(hardness, n - removed, 0, rng=generator())
    sizes = np.bincount(strata_of(scores[left], strata), minlength=strata)
    taken = np.bincount(strata_of(scores[left], strata)[np.isin(left, kept)], minlength=strata)
    np.testing.assert_array_equal(taken, stratum_budgets(sizes, params["coreset_num"]))
    return {
        "cutoff_removed": np.setdiff1d(np.arange(n), left),
        "stratum_sizes": sizes,
        "stratum_budgets": taken,
        "n_selected": len(kept),
    }


def ccs_portable(output: Case) -> Case:
    """Equal-size strata are filled in any order, so (size, budget) pairs form a multiset; inside, samples are random."""
    pairs = sorted(zip(output["stratum_sizes"], output["stratum_budgets"], strict=True))
    rest = ("cutoff_removed", "stratum_sizes", "n_selected")
    return {"pairs": [list(p) for p in pairs]} | {key: output[key] for key in rest}


def ccs_monotonic(case: Case, inputs: Inputs) -> Case:
    scores, labels, ratio = inputs["score"], inputs["targets"], case["params"]["ratio"]
    out = {}
    for name, centre in (("desc", 1.0), ("asc", 0.0)):
        for kind, groups in (("balanced", labels), ("global", np.zeros(len(labels), int))):
            quotas = class_quotas(groups, ratio, rounding="floor")
            out[f"{name}_{kind}"] = keep_quotas(scores, quotas, labels=groups, centre=centre, rng=generator())
    return out


def datadiet_subset(case: Case, inputs: Inputs) -> Case:
    scores, size = inputs["scores"], case["params"]["subset_size"]
    last = len(scores) - size
    return {
        "keep_min_scores": keep_range(scores, size, 0, rng=generator()),
        "keep_max_scores": keep_range(scores, size, last, rng=generator()),
        "keep_min_abs_scores": keep_range(np.abs(scores), size, 0, rng=generator()),
        "keep_max_abs_scores": keep_range(np.abs(scores), size, last, rng=generator()),
        "offset": keep_range(scores, size, case["params"]["subset_offset"], rng=generator()),
    }


def uniform(case: Case, inputs: Inputs) -> Case:
    labels, fraction, rng = inputs["labels"], case["params"]["fraction"], generator()
    scores, everyone = rng.random(len(labels)), np.zeros(len(labels), int)
    quotas = class_quotas(labels, fraction, rounding="half_even")
    balanced = keep_quotas(scores, quotas, labels=labels, rng=rng)
    whole = class_quotas(everyone, fraction, rounding="half_even")
    return {
        "balanced": balanced,
        "unbalanced": keep_quotas(scores, whole, labels=everyone, rng=rng),
        "balanced_per_class": [int((labels[balanced] == c).sum()) for c in np.unique(labels)],
    }


def uniform_portable(output: Case) -> Case:
    """The sets come from a seed of numpy's global generator; their sizes are what another code can match."""
    sizes = {key: len(output[key]) for key in ("balanced", "unbalanced")}
    return sizes | {"balanced_per_class": output["balanced_per_class"]}


# -- InfoBatch


def infobatch(case: Case, inputs: Inputs) -> Case:
    losses, params = inputs["loss"], case["params"]
    n, batch = len(losses), inputs["batch_loss"]
    legacy = np.random.RandomState(int(re.search(r"seed\((\d+)\)", params["rng"])[1]))
    sampler = InfoBatch(n, 2, prune_ratio=params["prune_ratio"], delta=1.0, exact=False, rng=legacy)
    sampler.epoch = 1  # the losses below are those of a first epoch, the pruning that of the second
    sampler.update(np.arange(n), losses)
    kept = np.sort(sampler.epoch_order())
    below = int((sampler.losses < sampler.losses.mean()).sum())
    ids = kept[: len(batch)]
    returned = float((batch * sampler.weights[ids]).mean())
    sampler.update(ids, batch)
    as_keep_ratio, weights = soft_prune(losses, params["prune_ratio"], rng=generator(), exact=False)
    return {
        "mean_score": sampler.losses.mean(),  # the mean and the always-kept were read after the update
        "n_below_mean": below,
        "n_kept": len(kept),
        "kept_sorted": kept,
        "weights": sampler.weights,
        "always_kept": np.flatnonzero(sampler.losses >= sampler.losses.mean()),
        "update": {"indices": ids, "returned_loss": returned, "scores_after": sampler.losses[ids]},
        "research_version_ratio_is_KEEP": {"n_kept": len(as_keep_ratio), "weight": weights.max()},
    }


def infobatch_schedule(case: Case, inputs: Inputs) -> Case:
    params = case["params"]
    n, epochs = params["n"], params["num_epochs"]
    options = {"prune_ratio": params["prune_ratio"], "delta": params["delta"], "exact": False}
    sampler = InfoBatch(n, epochs, **options, rng=generator())
    seen = []
    for _ in range(epochs):
        seen.append(len(list(sampler)))
        sampler.update(np.arange(n), np.linspace(0, 1, n))
    whole = [e for e in range(1, epochs) if seen[e] == n]
    return {
        "samples_per_epoch_head": seen[: len(case["output"]["samples_per_epoch_head"])],
        "first_unpruned_epoch_after_start": whole[0] if whole else None,
        "n_pruned_epochs": sum(count < n for count in seen),
        "max_weight_in_last_epoch": sampler.weights.max(),
    }
