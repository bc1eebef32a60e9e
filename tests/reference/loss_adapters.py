"""Losses against the reference numbers: inputs in, the same public functions as training uses, numbers out.

An adapter takes the case and its generated inputs and returns what the case's output holds: values, per-layer values
and gradients summarised by `probe` (None where there is no gradient path). Weights come as inputs named "w:...".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical

from kdlib import losses
from kdlib.models.features import Features
from tests.reference.learned_loss_adapters import (
    ab_connector,
    cc,
    crd,
    ft,
    hint,
    pefd,
    vid,
)
from tests.reference.tensors import (
    Case,
    Inputs,
    gradients,
    leaf,
    make,
    number,
    paired,
    reached,
)

# --- logit losses ---------------------------------------------------------------------------------------------------


def kd(case: Case, inputs: Inputs) -> dict[str, Any]:
    tau = case["params"]["T"]
    s, t = leaf(inputs["logits_s"]), leaf(inputs["logits_t"])
    value = losses.kd(s, t, None, alpha=1.0, tau=tau).mean()
    kl = losses.soft_kl(s, t, tau).mean()
    teacher_side = gradients(tau**2 * kl, {"logits_t": t})  # `kd` detaches its teacher, `soft_kl` does not
    return {
        "value": number(value),
        "grad": gradients(value, {"logits_s": s}) | teacher_side,
        "kl_batchmean_without_T2": number(kl),
        "soft_cross_entropy_batchmean_without_T2": number(kl + Categorical(logits=t / tau).entropy().mean()),
    }


def kd_total(case: Case, inputs: Inputs) -> dict[str, Any]:
    p = case["params"]
    s, t, y = (leaf(inputs[name]) for name in ("logits_s", "logits_t", "labels"))
    value = losses.kd(s, t, y, tau=p["T"], weighting=(p["gamma_ce"], p["alpha_kd"])).mean()
    return {
        "value": number(value),
        "grad": gradients(value, {"logits_s": s}),
        "teacher_grad_is_none": not reached(value, t),
        "ce": number(losses.cross_entropy(s, None, y).mean()),
    }


def _dkd(case: Case, s: Tensor, t: Tensor, y: Tensor, weighting: tuple[float, float], **warm: Any) -> Tensor:
    p = case["params"]
    weights = {"target_weight": p["alpha"], "non_target_weight": p["beta"]}
    return losses.dkd(s, t, y, tau=p["T"], weighting=weighting, **weights, **warm).mean()


def dkd(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t, y = (leaf(inputs[name]) for name in ("logits_s", "logits_t", "labels"))
    value = _dkd(case, s, t, y, (0.0, 1.0))
    return {"value": number(value), "grad": gradients(value, {"logits_s": s})}


def dkd_objective(case: Case, inputs: Inputs) -> dict[str, Any]:
    p = case["params"]
    s, t, y = (leaf(inputs[name]) for name in ("logits_s", "logits_t", "labels"))
    warm = {"warmup_epochs": p["warmup"], "epoch": p["epoch"]}
    return {
        "loss_ce": number(_dkd(case, s, t, y, (p["ce_weight"], 0.0), **warm)),
        "loss_kd": number(_dkd(case, s, t, y, (0.0, 1.0), **warm)),
    }


def _reshaped(reshape: str, s: Tensor, t: Tensor, tau: float) -> Tensor:
    labels = torch.zeros(len(s), dtype=torch.int64)  # not read: neither reshape is class-wise, CE has weight 0
    return losses.logit_loss(s, t, labels, loss="kd", reshape=reshape, tau=tau, weighting=(0.0, 1.0)).mean()


def lskd(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t = leaf(inputs["logits_s"]), leaf(inputs["logits_t"])
    reshape = "lskd" if case["params"].get("logit_stand", True) else "none"
    value = _reshaped(reshape, s, t, case["params"]["T"])
    row = losses.RESHAPES[reshape](s, t, None).teacher[0]
    return {
        "value": number(value),
        "grad": gradients(value, {"logits_s": s}),
        "standardized_t_row0": [float(v) for v in row[:12]],
    }


def normkd(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t = leaf(inputs["logits_s"]), leaf(inputs["logits_t"])
    value = _reshaped("normkd", s, t, case["params"]["T_norm"])
    return {"value": number(value), "grad": gradients(value, {"logits_s": s})}


def skd(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t, y = (leaf(inputs[name]) for name in ("logits_s", "logits_t", "labels"))
    tau, alpha = case["params"]["T"], case["params"]["alpha"]

    def part(weighting: tuple[float, float]) -> Tensor:
        return losses.logit_loss(s, t, y, loss="kd", reshape="skd", tau=tau, weighting=weighting).mean()

    total = part((1 - alpha, alpha))
    return {
        "loss_kd_weighted": number(part((0.0, alpha))),
        "loss_ce_weighted": number(part((1 - alpha, 0.0))),
        "total": number(total),
        "grad_total": gradients(total, {"logits_s": s}),
    }


# --- losses without parameters --------------------------------------------------------------------------------------


def layered(function: Callable[..., Tensor], *names: str) -> Callable[[Case, Inputs], dict[str, Any]]:
    """An adapter for a loss on lists of maps; `names` are the parameters it passes on."""

    def adapter(case: Case, inputs: Inputs) -> dict[str, Any]:
        s, t = leaf(inputs["g_s"]), leaf(inputs["g_t"])
        per_layer = function(s, t, **{n: case["params"][n] for n in names if n in case["params"]})
        value = per_layer.sum()
        return {
            "per_layer": per_layer.tolist(),
            "value": number(value),
            "grad": gradients(value, {"g_s": s}),
            "teacher_receives_grad": reached(value, t),
        }

    return adapter


# --- the whole objective of RepDistiller's loop ---------------------------------------------------------------------


def loop(name: str) -> Callable[[Case, Inputs], dict[str, Any]]:
    """gamma CE + alpha KD + beta FEATURE_LOSSES[name], on features listed as [stem, stages..., pooled]."""

    def adapter(case: Case, inputs: Inputs) -> dict[str, Any]:
        p = case["params"]
        s, t = leaf(inputs["feat_s"]), leaf(inputs["feat_t"])
        logits_s, logits_t, y = (leaf(inputs[n]) for n in ("logits_s", "logits_t", "labels"))
        student, teacher = Features(s[:-1], s[-1], logits_s), Features(t[:-1], t[-1], logits_t)
        module = make(losses.FEATURE_LOSSES[name].make, student, teacher, num_samples=len(y))
        hard_and_soft = losses.kd(logits_s, logits_t, y, tau=p.get("T", 4.0), weighting=(p["gamma"], p["alpha"]))
        value = hard_and_soft.mean() + p["beta"] * module(student, teacher, y, torch.arange(len(y)))
        found = gradients(value, {"feat": s}).values()
        used = [i for i, g in enumerate(found) if g is not None and g["l2"] > 0]
        return {"value": number(value), "feature_indices_with_gradient": used}

    return adapter


ADAPTERS: dict[str, Callable[[Case, Inputs], dict[str, Any]]] = {
    "loss/kd": kd,
    "loss/kd_total": kd_total,
    "loss/dkd": dkd,
    "loss/dkd_objective": dkd_objective,
    "loss/lskd": lskd,
    "loss/normkd": normkd,
    "loss/skd": skd,
    "loss/at": layered(losses.attention, "p"),
    "loss/nst": layered(losses.neuron_selectivity),
    "loss/fsp": layered(losses.flow),
    "loss/sp": layered(losses.similarity),
    "loss/ab": layered(losses.activation_boundary, "margin"),
    "loss/pkt": paired(losses.probability_transfer, {"eps": "eps"}),
    "loss/rkd": paired(losses.relational, {"w_d": "distance_weight", "w_a": "angle_weight", "eps": "eps"}),
    "loss/hint": hint,
    "loss/ab_connector": ab_connector,
    "loss/ft": ft,
    "loss/vid": vid,
    "loss/cc": cc,
    "loss/pefd": pefd,
    "loss/crd": crd,
    "loss/loop_attention": loop("at"),
    "loss/loop_similarity": loop("sp"),
    "loss/loop_rkd": loop("rkd"),
}
