"""Losses with learned parameters against the reference numbers, see `loss_adapters`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kdlib import losses
from tests.reference.tensors import (
    Case,
    Inputs,
    as_features,
    gradients,
    leaf,
    load,
    make,
    number,
    paired,
    summary,
)


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
