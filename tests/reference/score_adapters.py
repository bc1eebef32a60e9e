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
from kdlib.selection.rules import (
    class_quotas,
    keep_moderate,
    keep_quotas,
    keep_range,
)
from kdlib.theory import ridge as theory
from tests.reference.inputs import probe
from tests.reference.selection_adapters import (
    ccs,
    ccs_monotonic,
    ccs_portable,
    datadiet_subset,
    generator,
    infobatch,
    infobatch_schedule,
    uniform,
    uniform_portable,
)

Case = dict[str, Any]
Inputs = dict[str, Any]


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
