"""Scorers, selections and paper formulas against the reference numbers.

An adapter takes (case, inputs), inputs as numpy arrays, and returns what kdlib computes for it under the keys of the
expected output. `PORTABLE` names, per function, what of the expected output can be expected of another
implementation at all: where the reference draws from its own global generator or sorts unstably, its file says to
compare counts. Both sides of the comparison go through it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from kdlib.losses import class_std
from kdlib.losses.reshape import classwise_std
from kdlib.scorers import dynamics, errors, geometry, gradients
from kdlib.scorers import memorization as subset_models
from kdlib.selection.infobatch import InfoBatch, soft_prune
from kdlib.selection.rules import (
    class_quotas,
    keep_moderate,
    keep_quotas,
    keep_range,
    keep_stratified,
    strata_of,
    stratum_budgets,
)
from kdlib.theory import ridge as theory
from tests.reference.inputs import probe

Case = dict[str, Any]
Inputs = dict[str, Any]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.softmax(torch.from_numpy(logits).double(), dim=-1).numpy()


# -- forgetting


# The words in which a case says what a column of `acc` becomes, epoch by epoch: (pattern, its numbers and E -> values).
COLUMN_RULES: tuple[tuple[str, Callable[..., Any]], ...] = (
    (r"all ([01])", lambda epochs, value: epochs * 0 + value),
    (r"0 then 1 from epoch E//(\d+)", lambda epochs, parts: epochs >= len(epochs) // parts),
    (r"0 then 1 from epoch (\d+)", lambda epochs, first: epochs >= first),
    (r"epoch%(\d+)", lambda epochs, period: epochs % period),
    (r"only epoch (\d+) is 1", lambda epochs, only: epochs == only),
)


def column_values(text: str, epochs: int) -> np.ndarray:
    for pattern, rule in COLUMN_RULES:
        if found := re.fullmatch(pattern, text.strip()):
            return rule(np.arange(epochs), *map(int, found.groups()))
    raise ValueError(f"the case changes a column in words that no rule knows: {text!r}")


def overridden(array: np.ndarray, text: str | None) -> np.ndarray:
    """Apply the changes a case describes in words: "0 -> all 0; 3 -> epoch%2", or "mask[:,0]=1 after generation"."""
    array = np.array(array)
    if not text:
        return array
    whole = re.findall(r"\[:,\s*(\d+)\]\s*=\s*(\d+)", text)
    columns = re.findall(r"(\d+) -> ([^;]+)", text)
    if not whole and not columns:
        raise ValueError(f"the case changes its input in words that no rule knows: {text!r}")
    for column, value in whole:
        array[:, int(column)] = int(value)
    for column, values in columns:
        array[:, int(column)] = column_values(values, len(array))
    return array


def forgetting(case: Case, inputs: Inputs) -> Case:
    correct = overridden(inputs["acc"], case["params"].get("overrides"))[None].astype(bool)
    labels, fraction = inputs["labels"], case["params"]["fraction"]
    hardest, easiest = dynamics.forgetting(correct, "hardest"), dynamics.forgetting(correct)
    summed = 2 * dynamics.forgetting(np.concatenate([correct, correct]), "hardest")
    total = keep_range(easiest, n := round(fraction * len(easiest)), len(easiest) - n, rng=generator())
    quotas = class_quotas(labels, fraction, rounding="half_even")
    balanced = keep_quotas(easiest, quotas, labels=labels, rng=generator())
    first = dynamics.epochs_to_learn(correct, "first")
    return {
        "events_deepcore": easiest,
        "events_ccs": easiest,
        "events_example_forgetting": hardest,
        "events_data_diet": dynamics.forgetting(correct, "infinite"),
        "events_example_forgetting_two_runs_summed": {str(i): s for i, s in enumerate(summed)},
        "first_learned": [None if e == correct.shape[1] else e for e in first],
        "presentations_needed_to_learn": dynamics.epochs_to_learn(correct),
        "forgotten_at": [np.flatnonzero(column) + 2 for column in dynamics.forgotten(correct)[0].T],  # from 1
        "deepcore_topk_counts": np.sort(easiest[total])[::-1],
        "deepcore_balanced_topk_counts_per_class": [
            np.sort(easiest[balanced[labels[balanced] == c]])[::-1] for c in np.unique(labels)
        ],
        "correctness_ccs": correct[0].sum(axis=0),
    }


def ccs_dynamics(case: Case, inputs: Inputs) -> Case:
    logits, labels = torch.from_numpy(inputs["logits"]), inputs["labels"]
    stored = torch.log_softmax(logits, dim=-1).to(getattr(torch, case["params"]["log_prob_dtype"]))
    probs = stored.double().exp().numpy()
    correct = (probs.argmax(axis=-1) == labels)[None]
    first_epochs = min(case["params"]["max_epoch"], len(probs))
    return {
        "el2n_sum": first_epochs * dynamics.el2n_training(errors.error_norms(probs, labels)[None], first_epochs),
        "accumulated_margin": -len(probs) * errors.max_margin(probs, labels),
        "forgetting": dynamics.forgetting(correct),
        "correctness": correct[0].sum(axis=0),
    }


# -- errors and gradients


def el2n(case: Case, inputs: Inputs) -> Case:
    return {"l2_error": errors.el2n(softmax(inputs["logits"]), inputs["labels"])}


def two_layers(inputs: Inputs) -> nn.Sequential:
    sizes = inputs["W1"].shape[0], *inputs["W2"].shape
    model = nn.Sequential(nn.Linear(sizes[0], sizes[1]), nn.ReLU(), nn.Linear(sizes[1], sizes[2])).double()
    with torch.no_grad():
        for layer, weight, bias in ((model[0], "W1", "b1"), (model[2], "W2", "b2")):
            layer.weight.copy_(torch.from_numpy(inputs[weight].T))
            layer.bias.copy_(torch.from_numpy(inputs[bias]))
    return model


def grand_full(case: Case, inputs: Inputs) -> Case:
    model = two_layers(inputs)
    x, labels = torch.from_numpy(inputs["X"]).double(), torch.from_numpy(inputs["labels"])
    with torch.no_grad():
        hidden, logits = model[:2](x), model(x)
    return {
        "grand_full": gradients.grand(model, x, labels, chunk=4),
        "el2n": errors.el2n(softmax(logits.numpy()), inputs["labels"]),
        "last_layer_only": gradients.last_layer_norm(hidden, logits, labels).numpy(),
    }


def grand_last_layer(case: Case, inputs: Inputs) -> Case:
    params, labels = case["params"], inputs["labels"]
    features, targets = torch.from_numpy(inputs["features"]).double(), torch.from_numpy(labels)
    runs = []
    for r in range(params["repeat"]):
        weight, bias = (torch.from_numpy(inputs[f"{name}{r}"]).double() for name in "Wb")
        runs.append(gradients.last_layer_norm(features, features @ weight.T + bias, targets).numpy())
    scores, n, batch = np.mean(runs, axis=0), len(labels), params["selection_batch"]
    sizes = np.minimum(batch, n - np.arange(n) // batch * batch)  # of the batch each sample is scored in
    reference = scores / sizes
    rounded = class_quotas(labels if params["balance"] else np.zeros(n, int), params["fraction"], "half_even")
    groups = labels if params["balance"] else np.zeros(n, int)
    return {
        "scores_reference": reference,
        "scores_times_batch": scores,
        "selected": keep_quotas(reference, rounded, labels=groups, rng=generator()),
    }


def memorization(case: Case, inputs: Inputs) -> Case:
    """The influence on a test sample is the memorization of every training sample, with its correctness in their place."""
    trained = overridden(inputs["mask"], case["params"].get("override"))

    def beside(right: np.ndarray) -> np.ndarray:
        return np.repeat(right[:, None], trained.shape[1], axis=1)

    return {
        "memorization": subset_models.memorization(trained, inputs["train_correct"], "zero"),
        "influence": [subset_models.memorization(trained, beside(right), "zero") for right in inputs["test_correct"].T],
    }


# -- geometry


def herding(case: Case, inputs: Inputs) -> Case:
    x, labels, fraction = inputs["features"], inputs["labels"], case["params"]["fraction"]
    out = {}
    for key, rule in (("as_shipped_argmax", "argmax"), ("argmin_via_negated_metric", "argmin")):
        out[key] = np.sort(geometry.herding_order(x, round(fraction * len(x)), rule))
        quotas = class_quotas(labels, fraction, rounding="half_even")
        scores = geometry.herding(x, labels, rule)
        out[f"{key}_balanced"] = keep_quotas(scores, quotas, labels=labels, rng=generator())
    return out


def moderate(case: Case, inputs: Inputs) -> Case:
    distance = geometry.class_distance(inputs["features"], inputs["labels"])
    kept = keep_moderate(distance, case["params"]["rate"], rng=generator())
    return {
        "class_median": geometry.class_centres(inputs["features"], inputs["labels"]),
        "distance": distance,
        "kept": kept,
        "dropped": np.setdiff1d(np.arange(len(distance)), kept),
        "n_kept": len(kept),
    }


# -- selection


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


# -- the papers' formulas


def medium_difficulty(case: Case, inputs: Inputs) -> Case:
    logits, labels = torch.from_numpy(inputs["logits_t"]), torch.from_numpy(inputs["labels"])
    means = class_std(logits, labels, int(labels.max()) + 1)
    reshaped = classwise_std(logits, logits, labels, class_std=means).teacher
    scores = errors.difficulty(inputs["logits_t"], inputs["labels"])
    windows = {}
    for ratio in case["output"]["medium_per_class_zero_based_window"]:
        quotas = class_quotas(inputs["labels"], float(ratio), rounding="half_even")
        windows[ratio] = keep_quotas(scores, quotas, labels=inputs["labels"], centre=0.5, rng=generator())
    return {
        "class_mean_std_ddof1": means.numpy(),
        "reshaped": probe(reshaped.numpy()),
        "reshaped_row0": reshaped[0].numpy(),
        "reshaped_row_std_ddof1": reshaped.std(dim=1).numpy(),
        "difficulty_ce": scores,
        "medium_per_class_zero_based_window": windows,
    }


def ridge_self_distillation(case: Case, inputs: Inputs) -> Case:
    X, theta, params = inputs["X"], inputs["theta"], case["params"]
    lam, alpha, n = params["lam"], params["alpha"], params["Nf"]
    y = X.T @ theta + inputs["noise"]
    pruned, teacher = theory.ridge(X[:, :n], y[:n], lam), theory.ridge(X, y, lam)
    residual = y[:n] - X[:, :n].T @ pruned
    return {
        "theta_pruned": pruned,
        "theta_teacher_full": teacher,
        "theta_student": theory.self_distil(X[:, :n], y[:n], teacher, alpha, lam),
        "theta_pruned_if_objective_lambda_over_2": theory.ridge(X[:, :n], y[:n], lam / 2),
        "bias_sq_teacher_full": np.sum(theory.student_bias(X[:, :n], X, theta, alpha, lam) ** 2),
        "bias_sq_teacher_pruned": np.sum(theory.student_bias(X[:, :n], X[:, :n], theta, alpha, lam) ** 2),
        "objective_lambda_at_theta_pruned": residual @ residual + lam * pruned @ pruned,
    }


def theorem1_counterexample(case: Case, inputs: Inputs) -> Case:
    pruned, theta, params = inputs["X_pruned"], inputs["theta"], case["params"]
    larger = np.column_stack([pruned, inputs["extra_column"]])
    large, own = (theory.student_bias(pruned, X, theta, params["alpha"], params["lam"]) for X in (larger, pruned))
    return {"bias_sq_teacher_with_more_data": large @ large, "bias_sq_self": own @ own}


ADAPTERS: dict[str, Callable[[Case, Inputs], Case]] = {
    "score/forgetting": forgetting,
    "score/ccs_dynamics": ccs_dynamics,
    "score/el2n": el2n,
    "score/grand_full": grand_full,
    "score/grand_last_layer": grand_last_layer,
    "score/memorization": memorization,
    "score/herding": herding,
    "score/moderate": moderate,
    "score/ccs": ccs,
    "score/ccs_monotonic": ccs_monotonic,
    "score/datadiet_subset": datadiet_subset,
    "score/uniform": uniform,
    "score/infobatch": infobatch,
    "score/infobatch_schedule": infobatch_schedule,
    "formula/medium_difficulty": medium_difficulty,
    "formula/ridge_self_distillation": ridge_self_distillation,
    "formula/theorem1_counterexample": theorem1_counterexample,
}
PORTABLE: dict[str, Callable[[Case], Case]] = {"score/ccs": ccs_portable, "score/uniform": uniform_portable}
