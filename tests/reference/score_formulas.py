"""Scores, selections and the ridge, written out in numpy from the papers (see `formulas`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.reference.arrays import Array, Case, Inputs, log_softmax, softmax, std
from tests.reference.inputs import probe


def errors(probs: Array, labels: Array) -> Array:
    return np.sqrt(((probs - np.eye(probs.shape[-1])[labels]) ** 2).sum(-1))


def el2n(case: Case, x: Inputs) -> Case:
    return {"l2_error": errors(softmax(x["logits"]), x["labels"])}


def grand_full(case: Case, x: Inputs) -> Case:
    hidden = np.maximum(x["X"] @ x["W1"] + x["b1"], 0)
    probs = softmax(hidden @ x["W2"] + x["b2"])
    outer = probs - np.eye(probs.shape[1])[x["labels"]]
    inner = outer @ x["W2"].T * (hidden > 0)
    last = (outer**2).sum(1) * ((hidden**2).sum(1) + 1)
    full = last + (inner**2).sum(1) * ((x["X"] ** 2).sum(1) + 1)
    return {"grand_full": np.sqrt(full), "last_layer_only": np.sqrt(last), "el2n": errors(probs, x["labels"])}


def grand_last_layer(case: Case, x: Inputs) -> Case:
    p, labels, h = case["params"], x["labels"], x["features"]
    scores = np.mean(
        [
            errors(softmax(h @ x[f"W{r}"].T + x[f"b{r}"]), labels) * np.sqrt((h**2).sum(1) + 1)
            for r in range(p["repeat"])
        ],
        axis=0,
    )
    size, n = p["selection_batch"], len(labels)
    shared = np.array([min(size, n - i // size * size) for i in range(n)])
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)] if p["balance"] else [np.arange(len(labels))]
    kept = [g[np.argsort(-(scores / shared)[g])[: round(p["fraction"] * len(g))]] for g in groups]
    return {
        "scores_times_batch": scores,
        "scores_reference": scores / shared,
        "selected": np.sort(np.concatenate(kept)),
    }


def events(column: Array) -> int:
    return sum(bool(a) and not b for a, b in zip(column[:-1], column[1:], strict=True))


def ccs_dynamics(case: Case, x: Inputs) -> Case:
    labels, p = x["labels"], case["params"]
    probs = np.exp(log_softmax(x["logits"]).astype(p["log_prob_dtype"]).astype(np.float64))
    others = np.where(np.eye(probs.shape[-1], dtype=bool)[labels], -1.0, probs).max(-1)
    right = probs.argmax(-1) == labels
    return {
        "el2n_sum": errors(probs, labels)[: p["max_epoch"]].sum(0),
        "accumulated_margin": (probs[:, np.arange(len(labels)), labels] - others).sum(0),
        "forgetting": [events(column) for column in right.T],
        "correctness": right.sum(0),
    }


def memorization(case: Case, x: Inputs) -> Case:
    def gap(mask: Array, correct: Array) -> float:
        return sum(sign * (correct[m].mean() if m.any() else 0.0) for sign, m in ((1, mask == 1), (-1, mask == 0)))

    mask = x["mask"].copy()
    for column, value in re.findall(r"\[:,(\d+)\]=(\d)", case["params"].get("override") or ""):
        mask[:, int(column)] = int(value)
    columns, tests = range(mask.shape[1]), range(x["test_correct"].shape[1])
    return {
        "memorization": [gap(mask[:, i], x["train_correct"][:, i]) for i in columns],
        "influence": [[gap(mask[:, i], x["test_correct"][:, j]) for i in columns] for j in tests],
    }


def herding(case: Case, x: Inputs) -> Case:
    f, labels, fraction = x["features"].astype(np.float64), x["labels"], case["params"]["fraction"]

    def pick(members: Array, best: Callable[[Array], Any]) -> list[int]:
        left, taken, mean = list(members), [], f[members].mean(0)
        for t in range(round(fraction * len(members))):
            target = (t + 1) * mean - f[taken].sum(0)
            taken.append(left.pop(int(best(np.linalg.norm(target - f[left], axis=1)))))
        return taken

    out = {}
    for key, best in (("as_shipped_argmax", np.argmax), ("argmin_via_negated_metric", np.argmin)):
        out[key] = sorted(pick(np.arange(len(f)), best))
        parts = [pick(np.flatnonzero(labels == c), best) for c in np.unique(labels)]
        out[f"{key}_balanced"] = sorted(sum(parts, []))
    return out


def moderate(case: Case, x: Inputs) -> Case:
    f, labels, rate = x["features"].astype(np.float64), x["labels"], case["params"]["rate"]
    centres = [np.median(f[labels == c], axis=0) for c in np.unique(labels)]
    distance = np.linalg.norm(f - np.array(centres)[np.unique(labels, return_inverse=True)[1]], axis=1)
    low, high = (round(len(f) * (0.5 + side * rate / 2)) for side in (-1, 1))
    return {"class_median": centres, "distance": distance, "n_kept": high - low} | {
        "kept": np.sort(np.argsort(distance, kind="stable")[low:high])
    }


def ccs(case: Case, x: Inputs) -> Case:
    p, score = case["params"], x["score"]
    removed = np.argsort(x["aum"], kind="stable")[: p["mis_num"]]
    left = np.setdiff1d(np.arange(len(score)), removed)
    low, step = score[left].min(), (score[left].max() * 1.0001 - score[left].min()) / p["strata"]
    inside = [
        int(((score[left] >= low + k * step) & (score[left] < low + (k + 1) * step)).sum()) for k in range(p["strata"])
    ]
    budgets, rest = [0] * p["strata"], p["coreset_num"]
    for done, k in enumerate(sorted(range(p["strata"]), key=lambda k: inside[k])):
        budgets[k] = min(inside[k], rest // (p["strata"] - done))
        rest -= budgets[k]
    return {
        "cutoff_removed": np.sort(removed),
        "stratum_sizes": inside,
        "stratum_budgets": budgets,
        "n_selected": sum(budgets),
    }


def infobatch(case: Case, x: Inputs) -> Case:
    loss, p = x["loss"].astype(np.float64), case["params"]
    keep = min(max(1 - p["prune_ratio"], 0.1), 1.0)
    easy = np.flatnonzero(loss < loss.mean())
    seed = int(re.findall(r"\d+", p["rng"])[0])
    drawn = np.random.RandomState(seed).choice(easy, int(keep * len(easy)), replace=False)
    weights = np.ones(len(loss))
    weights[drawn] = 1 / keep
    kept = np.sort(np.concatenate([np.setdiff1d(np.arange(len(loss)), easy), drawn]))
    ids = kept[: len(x["batch_loss"])]
    after = loss.copy()
    after[ids] = x["batch_loss"]
    return {
        "n_below_mean": len(easy),
        "n_kept": len(kept),
        "kept_sorted": kept,
        "weights": weights,
        "mean_score": after.mean(),
        "update": {"indices": ids, "returned_loss": (x["batch_loss"] * weights[ids]).mean()},
    }


def infobatch_schedule(case: Case, x: Inputs) -> Case:
    p = case["params"]
    n, below = p["n"], p["n"] // 2  # of linspace(0, 1, n) below its mean
    pruned = n - below + int(max(1 - p["prune_ratio"], 0.1) * below)
    seen = [pruned if 2 <= e + 1 <= p["delta"] * p["num_epochs"] else n for e in range(p["num_epochs"])]
    whole = [e for e in range(1, len(seen)) if seen[e] == n]
    return {
        "samples_per_epoch_head": seen[:4],
        "n_pruned_epochs": sum(k < n for k in seen),
        "first_unpruned_epoch_after_start": whole[0] if whole else None,
    }


def medium_difficulty(case: Case, x: Inputs) -> Case:
    z, y = x["logits_t"], x["labels"]
    own, d = std(z)[:, 0], -log_softmax(z)[np.arange(len(y)), y]
    means = np.array([own[y == c].mean() for c in np.unique(y)])
    windows = {}
    for ratio in case["output"]["medium_per_class_zero_based_window"]:
        kept: list[int] = []
        for c in np.unique(y):
            hardest_first = np.flatnonzero(y == c)[np.argsort(-d[y == c])]
            m = round(float(ratio) * len(hardest_first))
            start = -(-(len(hardest_first) - m) // 2)
            kept += hardest_first[start : start + m].tolist()
        windows[ratio] = sorted(kept)
    return {
        "class_mean_std_ddof1": means,
        "reshaped": probe(z * (means[np.unique(y, return_inverse=True)[1]] / own)[:, None]),
        "difficulty_ce": d,
        "medium_per_class_zero_based_window": windows,
    }


def ridge_self_distillation(case: Case, x: Inputs) -> Case:
    p, X, theta = case["params"], x["X"], x["theta"]
    y, n = X.T @ theta + x["noise"], p["Nf"]

    def fit(features: Array, targets: Array) -> Array:
        return np.linalg.solve(features @ features.T + p["lam"] * np.eye(len(features)), features @ targets)

    teacher, f = fit(X, y), X[:, :n]
    student = fit(f, (1 - p["alpha"]) * y[:n] + p["alpha"] * f.T @ teacher)
    return {"theta_pruned": fit(f, y[:n]), "theta_teacher_full": teacher, "theta_student": student}
