"""Losses against the reference numbers: inputs in, the same public functions as training uses, numbers out.

An adapter takes the case and its generated inputs and returns what the case's output holds: values, per-layer values
and gradients summarised by `probe` (None where there is no gradient path). Weights come as inputs named "w:...".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical

from kdlib import losses
from kdlib.models.features import Features
from tests.reference.inputs import probe

Inputs = dict[str, Any]
Case = dict[str, Any]
Leaf = Tensor | list[Tensor]


def leaf(array: np.ndarray | list[Any], grad: bool = True) -> Any:
    """An array, or a list of arrays, as tensors; floating-point ones ask for a gradient."""
    if isinstance(array, list):
        return [leaf(a, grad) for a in array]
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.requires_grad_(grad and tensor.is_floating_point())


def number(tensor: Tensor) -> float:
    return tensor.detach().item()


def summary(tensor: Tensor | None) -> dict[str, Any] | None:
    return None if tensor is None else probe(tensor.detach().numpy())


def gradients(value: Tensor, leaves: dict[str, Leaf]) -> dict[str, Any]:
    """Probes of d value / d leaf by name; the entries of a list are named "x[0]", "x[1]", ..."""
    flat: dict[str, Tensor] = {}
    for name, x in leaves.items():
        flat |= {f"{name}[{i}]": e for i, e in enumerate(x)} if isinstance(x, list) else {name: x}
    found = torch.autograd.grad(value, list(flat.values()), retain_graph=True, allow_unused=True)
    return {name: summary(g) for name, g in zip(flat, found, strict=True)}


def reached(value: Tensor, x: Leaf) -> bool:
    """Whether a gradient path leads from `value` to x."""
    return any(g is not None for g in gradients(value, {"x": x}).values())


def as_features(maps: list[Tensor], embedding: Tensor | None = None, logits: Tensor | None = None) -> Features:
    flat = maps[-1].flatten(1) if embedding is None else embedding
    return Features(maps, flat, flat if logits is None else logits)


def make(cls: Callable[..., nn.Module], student: Features, teacher: Features, **options: Any) -> Any:
    """A learned loss in the inputs' precision."""
    options = {"num_samples": 8, "num_classes": 10, "seed": 0} | options
    return cls(student, teacher, **options).to(student.embedding.dtype)


def load(module: nn.Module, inputs: Inputs, rename: Callable[[str], str]) -> dict[str, Leaf]:
    """Copy the "w:" inputs into the module's parameters; returns those, under the reference's names."""
    own = dict(module.named_parameters())
    given = {name[2:]: array for name, array in inputs.items() if name.startswith("w:")}
    for name, array in given.items():
        own[rename(name)].data.copy_(torch.from_numpy(array))
    return {name: own[rename(name)] for name in given}


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


def paired(function: Callable[..., Tensor], names: dict[str, str]) -> Callable[[Case, Inputs], dict[str, Any]]:
    """An adapter for a loss on two tensors; `names` maps the case's parameters to the function's."""

    def adapter(case: Case, inputs: Inputs) -> dict[str, Any]:
        s, t = leaf(inputs["f_s"]), leaf(inputs["f_t"])
        value = function(s, t, **{own: case["params"][n] for n, own in names.items() if n in case["params"]})
        return {
            "value": number(value),
            "grad": gradients(value, {"f_s": s}),
            "teacher_receives_grad": reached(value, t),
        }

    return adapter


# --- losses with learned parameters ---------------------------------------------------------------------------------


def hint(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t = leaf(inputs["f_s"]), leaf(inputs["f_t"])
    if "w:conv.weight" not in inputs:
        return paired(losses.hint_error, {})(case, inputs)
    student, teacher = as_features([s]), as_features([t])
    module = make(losses.FitNets, student, teacher)
    weights = load(module, inputs, lambda name: f"regressor.{name}")
    value = module(student, teacher, None, None)
    conv = module.regressor.conv
    return {
        "value": number(value),
        "regressed": summary(module.regressor(s)),
        "kernel": list(conv.kernel_size),
        "stride": list(conv.stride),
        "transposed": isinstance(conv, nn.ConvTranspose2d),
        "grad": gradients(value, {"f_s": s} | weights),
    }


def ab_connector(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t = leaf(inputs["g_s"]), leaf(inputs["g_t"])
    stem = [s[0].detach()], [t[0].detach()]  # the module leaves the first map out
    module = make(losses.AB, as_features(stem[0] + s), as_features(stem[1] + t))
    load(module, inputs, str)
    per_layer = module.per_layer(s, t, case["params"]["margin"])
    value = per_layer.sum()
    return {"per_layer": per_layer.tolist(), "value": number(value), "grad": gradients(value, {"g_s": s})}


def ft(case: Case, inputs: Inputs) -> dict[str, Any]:
    p = {name: case["params"][name] for name in ("p1", "p2")}
    if "w:translator.encoder.0.weight" not in inputs:
        return paired(losses.factor_transfer, {"p1": "p1", "p2": "p2"})(case, inputs)
    s, t = leaf(inputs["f_s"]), leaf(inputs["f_t"])
    module = make(losses.FT, as_features([s]), as_features([t]), rate=case["params"]["k"])
    load(module, inputs, _factor_name)
    factor_t, reconstruction = module.paraphraser(t)
    factor_s = module.translator(s)
    value = losses.factor_transfer(factor_s, factor_t, **p)
    return {
        "value": number(value),
        "factor_shape": list(factor_t.shape),
        "factor_t": summary(factor_t),
        "factor_s": summary(factor_s),
        "reconstruction_mse": number(F.mse_loss(reconstruction, t)),
        "grad": gradients(value, {"f_s": s}),
    }


def _factor_name(name: str) -> str:
    """The reference's paraphraser keeps an empty place for BatchNorm in each of its layers: 0, 3, 6 are 0, 2, 4."""
    net, part, layer, kind = name.split(".")
    return f"{net}.{part}.{int(layer) * 2 // 3 if net == 'paraphraser' else layer}.{kind}"


def vid(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t = leaf(inputs["f_s"]), leaf(inputs["f_t"])
    p = case["params"]
    options = {own: p[theirs] for theirs, own in (("eps", "eps"), ("init_pred_var", "initial_variance")) if theirs in p}
    module = losses.VIDLayer(s.shape[1], t.shape[1], **options).to(s.dtype)
    weights = load(module, inputs, str)
    value = module(s, t)
    return {"value": number(value), "grad": gradients(value, {"f_s": s} | weights)}


def _embedder(name: str) -> str:
    return name.replace("embed_s.linear", "embed_student").replace("embed_t.linear", "embed_teacher")


def cc(case: Case, inputs: Inputs) -> dict[str, Any]:
    if "w:embed_s.linear.weight" not in inputs:
        return paired(losses.correlation, {})(case, inputs)
    s, t = leaf(inputs["f_s"]), leaf(inputs["f_t"])
    student, teacher = as_features([s], s), as_features([t], t)
    module = make(losses.CC, student, teacher, dim=case["params"]["feat_dim"])
    weights = load(module, inputs, _embedder)
    value = module(student, teacher, None, None)
    return {"value": number(value), "grad": gradients(value, {"f_s": s} | weights)}


def _projector(name: str) -> str:
    """The reference counts from 1: "proj1.linear.weight" is "projectors.0.weight"."""
    projector, kind = name.split(".linear.")
    return f"projectors.{int(projector.removeprefix('proj')) - 1}.{kind}"


def pefd(case: Case, inputs: Inputs) -> dict[str, Any]:
    s, t = leaf(inputs["f_s"]), leaf(inputs["f_t"])
    student, teacher = as_features([s], s), as_features([t], t)
    count = case["params"]["num_projectors"]
    module = make(losses.PEFD, student, teacher, num_projectors=count)
    weights = load(module, inputs, _projector)
    value = module(student, teacher, None, None)
    return {
        "value": number(value),
        "grad": gradients(value, {"f_s": s} | weights),
        "unused_fourth_projector_grad_is_none": len(module.projectors) == count,  # there is none to train
    }


def crd(case: Case, inputs: Inputs) -> dict[str, Any]:
    p = case["params"]
    example = [as_features([leaf(inputs[n])], leaf(inputs[n])) for n in ("f_s1", "f_t1")]
    sizes = {"num_samples": p["n_data"], "dim": p["feat_dim"], "negatives": p["nce_k"]}
    module = make(losses.CRD, *example, temperature=p["nce_t"], momentum=p["nce_m"], **sizes)
    weights = load(module, inputs, _embedder)
    module.memory_student.copy_(torch.from_numpy(inputs["memory_v1"]))
    module.memory_teacher.copy_(torch.from_numpy(inputs["memory_v2"]))
    output = {}
    for step in range(1, 1 + sum(name.startswith("f_s") for name in inputs)):
        s, t, index, negatives = (leaf(inputs[f"{name}{step}"]) for name in ("f_s", "f_t", "idx", "neg"))
        value = module.contrast_with(s, t, index, negatives)
        output[f"step{step}"] = {
            "value": number(value),
            "grad": gradients(value, {"f_s": s} | weights),
            "Z_v1": number(module.normaliser[0]),
            "Z_v2": number(module.normaliser[1]),
            "memory_v1": summary(module.memory_student),
            "memory_v2": summary(module.memory_teacher),
        }
    return output


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
