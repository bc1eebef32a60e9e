"""The printed formulas in plain float64 numpy, written apart from kdlib: a second opinion on every adapter.

A formula takes (case, inputs) as an adapter does and returns what it can say of the case's output. Nothing here is
guarded or clever: no log-space tricks beyond the logarithm of a softmax, direct differences, loops over samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tests.reference.arrays import Array, Case, Inputs, kl, log_softmax, mean_ce, pool, std, unit
from tests.reference.inputs import probe
from tests.reference.score_formulas import (
    ccs,
    ccs_dynamics,
    el2n,
    grand_full,
    grand_last_layer,
    herding,
    infobatch,
    infobatch_schedule,
    medium_difficulty,
    memorization,
    moderate,
    ridge_self_distillation,
)

# -- logits


def kd(case: Case, x: Inputs) -> Case:
    tau = case["params"]["T"]
    p, q = log_softmax(x["logits_s"] / tau), log_softmax(x["logits_t"] / tau)
    return {
        "value": tau**2 * kl(p, q).mean(),
        "kl_batchmean_without_T2": kl(p, q).mean(),
        "soft_cross_entropy_batchmean_without_T2": -(np.exp(q) * p).sum(1).mean(),
        "grad": {"logits_s": probe(tau * (np.exp(p) - np.exp(q)) / len(p))},
    }


def kd_total(case: Case, x: Inputs) -> Case:
    p, ce = case["params"], mean_ce(x["logits_s"], x["labels"])
    return {"value": p["gamma_ce"] * ce + p["alpha_kd"] * kd(case, x)["value"], "ce": ce}


def dkd(case: Case, x: Inputs) -> Case:
    p, y = case["params"], x["labels"]
    total = 0.0
    for s, t, label in zip(x["logits_s"] / p["T"], x["logits_t"] / p["T"], y, strict=True):
        others = np.arange(len(s)) != label

        def binary(z: Array, label: int = label, others: Array = others) -> Array:
            log_p = log_softmax(z)
            return np.array([log_p[label], np.logaddexp.reduce(log_p[others])])

        total += p["alpha"] * kl(binary(s), binary(t))
        total += p["beta"] * kl(log_softmax(s[others]), log_softmax(t[others]))
    return {"value": p["T"] ** 2 * total / len(y)}


def dkd_objective(case: Case, x: Inputs) -> Case:
    p = case["params"]
    warm = min(p["epoch"] / p["warmup"], 1.0)
    return {
        "loss_ce": p["ce_weight"] * mean_ce(x["logits_s"], x["labels"]),
        "loss_kd": warm * dkd(case, x)["value"],
    }


def lskd(case: Case, x: Inputs) -> Case:
    s, t = ((z - z.mean(1, keepdims=True)) / (std(z) + 1e-7) for z in (x["logits_s"], x["logits_t"]))
    return {"value": kd(case, {"logits_s": s, "logits_t": t})["value"], "standardized_t_row0": t[0, :12]}


def normkd(case: Case, x: Inputs) -> Case:
    tau, s, t = case["params"]["T_norm"], x["logits_s"], x["logits_t"]
    rows = kl(log_softmax(s / (tau * std(s))), log_softmax(t / (tau * std(t))))
    return {"value": (rows * (tau * std(t)[:, 0]) ** 2).mean()}


def skd(case: Case, x: Inputs) -> Case:
    alpha, s, t = case["params"]["alpha"], x["logits_s"], x["logits_t"]
    s = s * std(t) / std(s)
    soft, hard = alpha * kd(case, {"logits_s": s, "logits_t": t})["value"], (1 - alpha) * mean_ce(s, x["labels"])
    return {"loss_kd_weighted": soft, "loss_ce_weighted": hard, "total": soft + hard}


# -- maps and relations


def layered(function: Callable[..., float]) -> Callable[[Case, Inputs], Case]:
    def formula(case: Case, x: Inputs) -> Case:
        values = [function(case["params"], s, t) for s, t in zip(x["g_s"], x["g_t"], strict=True)]
        return {"per_layer": values, "value": sum(values)}

    return formula


def paired(function: Callable[..., float]) -> Callable[[Case, Inputs], Case]:
    return lambda case, x: {"value": function(case["params"], x["f_s"], x["f_t"])}


def attention(p: Case, s: Array, t: Array) -> float:
    s, t = (unit((m ** p["p"]).mean(1).reshape(len(m), -1)) for m in pool(s, t))
    return ((s - t) ** 2).mean()


def selectivity(p: Case, s: Array, t: Array) -> float:
    s, t = (unit(m.reshape(*m.shape[:2], -1), 2) for m in pool(s, t))
    return sum(w * ((a @ b.transpose(0, 2, 1)) ** 2).mean() for w, a, b in ((1, t, t), (1, s, s), (-2, s, t)))


def similarity(p: Case, s: Array, t: Array) -> float:
    s, t = (m.reshape(len(m), -1) for m in (s, t))
    return ((unit(s @ s.T) - unit(t @ t.T)) ** 2).sum() / len(s) ** 2


def flow(case: Case, x: Inputs) -> Case:
    def matrices(maps: list[Array]) -> list[Array]:
        pairs = (pool(a, b) for a, b in zip(maps[:-1], maps[1:], strict=True))
        return [np.einsum("bchw,bdhw->bcd", a, b) / a.shape[2] / a.shape[3] for a, b in pairs]

    both = zip(matrices(x["g_s"]), matrices(x["g_t"]), strict=True)
    values = [((s - t) ** 2).mean() for s, t in both]
    return {"per_layer": values, "value": sum(values)}


def boundary(case: Case, x: Inputs) -> Case:
    margin, layers = case["params"]["margin"], len(x["g_s"])
    values = []
    for i, (s, t) in enumerate(zip(x["g_s"], x["g_t"], strict=True)):
        wrong = np.where(t > 0, np.maximum(margin - s, 0), np.maximum(margin + s, 0))
        values.append((wrong**2).sum() / len(s) * 2.0 ** (i - layers + 1) * 3 / 1000)
    return {"per_layer": values, "value": sum(values)}


def transfer(p: Case, s: Array, t: Array) -> float:
    def neighbours(f: Array) -> Array:
        f = f / (np.linalg.norm(f, axis=1, keepdims=True) + p["eps"])
        kernel = (f @ f.T + 1) / 2
        return kernel / kernel.sum(1, keepdims=True)

    s, t = neighbours(s), neighbours(t)
    return (t * np.log((t + p["eps"]) / (s + p["eps"]))).mean()


def smooth_l1(difference: Array) -> float:
    d = np.abs(difference)
    return np.where(d < 1, d * d / 2, d - 0.5).mean()


def relational(p: Case, s: Array, t: Array) -> float:
    s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)

    def distances(f: Array) -> Array:
        d = np.sqrt(np.maximum(((f[:, None] - f[None]) ** 2).sum(2), p.get("eps", 1e-12)))
        np.fill_diagonal(d, 0.0)
        return d / d[d > 0].mean()

    def angles(f: Array) -> Array:
        e = unit(f[None] - f[:, None], 2)
        return np.einsum("ijd,ikd->ijk", e, e)

    return p["w_d"] * smooth_l1(distances(s) - distances(t)) + p["w_a"] * smooth_l1(angles(s) - angles(t))


def factor(p: Case, s: Array, t: Array) -> float:
    s, t = (unit((m ** p["p1"]).mean(1).reshape(len(m), -1)) for m in pool(s, t))
    return (np.abs(s - t) if p["p2"] == 1 else (s - t) ** p["p2"]).mean()


def vid(case: Case, x: Inputs) -> Case:
    s, t = pool(x["f_s"], x["f_t"])
    for layer in (0, 2, 4):
        s = np.einsum("oc,bchw->bohw", x[f"w:regressor.{layer}.weight"][:, :, 0, 0], s)
        s = np.maximum(s, 0) if layer < 4 else s
    variance = np.log1p(np.exp(x["w:log_scale"]))[:, None, None] + case["params"]["eps"]
    return {"value": 0.5 * ((s - t) ** 2 / variance + np.log(variance)).mean()}


def hint(case: Case, x: Inputs) -> Case:
    """The regressor where the student's map is larger (an unpadded kernel), or half as large (transposed, stride 2)."""
    s, t = x["f_s"], x["f_t"]
    if "w:conv.weight" not in x:
        return {"value": ((s - t) ** 2).mean()}
    weight, padded = x["w:conv.weight"], s
    if s.shape[2] * 2 == t.shape[2]:  # zeros between the pixels, a border of 2, and the kernel turned over
        padded = np.zeros((*s.shape[:2], 2 * s.shape[2] + 3, 2 * s.shape[3] + 3))
        padded[:, :, 2:-2:2, 2:-2:2] = s
        weight = weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    step = 1
    if s.shape[2] == 2 * t.shape[2]:
        padded, step = np.pad(s, ((0, 0), (0, 0), (1, 1), (1, 1))), 2
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::step, ::step]
    out = np.einsum("bchwij,ocij->bohw", windows, weight) + x["w:conv.bias"][:, None, None]
    mean, variance = out.mean((0, 2, 3), keepdims=True), out.var((0, 2, 3), keepdims=True)
    scale, shift = (x[f"w:bn.{kind}"][:, None, None] for kind in ("weight", "bias"))
    out = np.maximum((out - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0)
    return {"value": ((out - t) ** 2).mean(), "regressed": probe(out)}


def cc(case: Case, x: Inputs) -> Case:
    s, t = x["f_s"], x["f_t"]
    if "w:embed_s.linear.weight" in x:
        s, t = (f @ x[f"w:embed_{n}.linear.weight"].T + x[f"w:embed_{n}.linear.bias"] for n, f in (("s", s), ("t", t)))
    d = np.abs(s - t)
    return {"value": (d[:-1] * d[1:]).sum(1).mean()}


def pefd(case: Case, x: Inputs) -> Case:
    names = [f"w:proj{i + 1}.linear" for i in range(case["params"]["num_projectors"])]
    f = np.mean([np.maximum(x["f_s"] @ x[f"{n}.weight"].T + x[f"{n}.bias"], 0) for n in names], axis=0)
    return {"value": (1 - (unit(f) * unit(x["f_t"])).sum(1)).mean()}


def crd(case: Case, x: Inputs) -> Case:
    p, z, out = case["params"], [0.0, 0.0], {}
    memory = [x["memory_v1"].copy(), x["memory_v2"].copy()]
    for step in range(1, 1 + sum(name.startswith("f_s") for name in x)):
        index = x[f"idx{step}"]
        rows = np.concatenate([index[:, None], x[f"neg{step}"]], axis=1)
        own = [
            unit(x[f"f_{n}{step}"] @ x[f"w:embed_{n}.linear.weight"].T + x[f"w:embed_{n}.linear.bias"]) for n in "st"
        ]
        value, noise = 0.0, p["nce_k"] / p["n_data"]
        for side in (0, 1):
            scores = np.exp(np.einsum("bd,bkd->bk", own[side], memory[1 - side][rows]) / p["nce_t"])
            z[side] = z[side] if step > 1 else scores.mean() * p["n_data"]
            s = scores / z[side]
            value -= np.log(s[:, 0] / (s[:, 0] + noise + p["eps"])).sum() / len(s)
            value -= np.log(noise / (s[:, 1:] + noise + p["eps"])).sum() / len(s)
        for side in (0, 1):
            memory[side][index] = unit(p["nce_m"] * memory[side][index] + (1 - p["nce_m"]) * own[side])
        numbers = {"value": value, "Z_v1": z[0], "Z_v2": z[1]}
        out[f"step{step}"] = numbers | {"memory_v1": probe(memory[0]), "memory_v2": probe(memory[1])}
    return out


FORMULAS: dict[str, Callable[[Case, Inputs], Case]] = {
    "loss/kd": kd,
    "loss/kd_total": kd_total,
    "loss/dkd": dkd,
    "loss/dkd_objective": dkd_objective,
    "loss/lskd": lskd,
    "loss/normkd": normkd,
    "loss/skd": skd,
    "loss/at": layered(attention),
    "loss/nst": layered(selectivity),
    "loss/sp": layered(similarity),
    "loss/fsp": flow,
    "loss/ab": boundary,
    "loss/pkt": paired(transfer),
    "loss/rkd": paired(relational),
    "loss/ft": paired(factor),
    "loss/vid": vid,
    "loss/hint": hint,
    "loss/cc": cc,
    "loss/pefd": pefd,
    "loss/crd": crd,
    "score/el2n": el2n,
    "score/grand_full": grand_full,
    "score/grand_last_layer": grand_last_layer,
    "score/ccs_dynamics": ccs_dynamics,
    "score/memorization": memorization,
    "score/herding": herding,
    "score/moderate": moderate,
    "score/ccs": ccs,
    "score/infobatch": infobatch,
    "score/infobatch_schedule": infobatch_schedule,
    "formula/medium_difficulty": medium_difficulty,
    "formula/ridge_self_distillation": ridge_self_distillation,
}
