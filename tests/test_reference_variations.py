"""The adapters on inputs that the reference numbers do not have: other sizes, options, temperatures; saturated float32.

`tests/reference/formulas.py` says what is expected. The formulas themselves must first reproduce the reference numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reference.formulas import FORMULAS
from tests.reference.inputs import make
from tests.test_reference_numbers import ADAPTERS, PORTABLE, adapted, built, differences, plain

PUBLIC: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "reference_numbers.json").read_text())["cases"]
WITHOUT_FORMULA = ("w:paraphraser.encoder.0.weight",)  # the whole FT module: its parts are tested elsewhere
CHECKED = [
    name
    for name, case in PUBLIC.items()
    if any(name.startswith(f"{f}/") for f in FORMULAS) and not set(WITHOUT_FORMULA) & set(case["inputs"])
]


def normal(seed: int, *shape: int, **options: Any) -> dict[str, Any]:
    return {"gen": "normal", "seed": seed, "shape": list(shape), **options}


def labels(*values: int) -> dict[str, Any]:
    return {"array": list(values), "dtype": "int64"}


def logits(scale: float, rows: int = 6, classes: int = 5, dtype: str = "float64", **options: Any) -> dict[str, Any]:
    both = {"logits_s": 901, "logits_t": 902}
    made = {k: normal(seed, rows, classes, scale=scale, dtype=dtype, **options) for k, seed in both.items()}
    return made | {"labels": labels(*(i * i % classes for i in range(rows)))}


def maps(*shapes: tuple[tuple[int, ...], tuple[int, ...]], **options: Any) -> dict[str, Any]:
    made = [[normal(910 + 10 * side + i, *pair[side], **options) for i, pair in enumerate(shapes)] for side in (0, 1)]
    return {"g_s": made[0], "g_t": made[1]}


def pair(student: tuple[int, ...], teacher: tuple[int, ...], **options: Any) -> dict[str, Any]:
    return {"f_s": normal(930, *student, **options), "f_t": normal(931, *teacher, **options)}


def weights(**shapes: tuple[int, ...]) -> dict[str, Any]:
    """ "w:" inputs; a double underscore in a keyword stands for a dot."""
    names = {f"w:{name.replace('__', '.')}": shape for name, shape in shapes.items()}
    return {name: normal(950 + i, *shape, scale=0.4) for i, (name, shape) in enumerate(names.items())}


def linear(name: str, c_out: int, c_in: int) -> dict[str, Any]:
    return weights(**{f"{name}__linear__weight": (c_out, c_in), f"{name}__linear__bias": (c_out,)})


def regressor(*kernel: int) -> dict[str, Any]:
    c_out = kernel[1] if kernel[2] == 4 else kernel[0]  # a transposed kernel has its inputs first
    vectors = {name: (c_out,) for name in ("conv__bias", "bn__weight", "bn__bias")}
    return weights(conv__weight=kernel, **vectors)


ZERO_ROWS = {"array": [[0.0, 0.0, 0.0], [1.0, 2.0, -1.0], [0.0, 0.0, 0.0], [3.0, 0.5, 2.0]], "dtype": "float64"}
IMBALANCED = labels(0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 2, 0, 2, 0)  # class 1 has one sample
OBJECTIVE = {"ce_weight": 0.4, "alpha": 2, "beta": 0.5, "T": 1.5, "warmup": 20}
CRD_SIZES = {"feat_dim": 3, "n_data": 9, "nce_k": 12, "nce_t": 0.2, "nce_m": 0.9, "eps": 1e-7}
CRD_INPUTS = (
    linear("embed_s", 3, 4) | linear("embed_t", 3, 5) | {"memory_v1": normal(1, 9, 3), "memory_v2": normal(2, 9, 3)}
)
for step in (1, 2, 3):
    CRD_INPUTS |= {f"f_s{step}": normal(10 * step, 2, 4), f"f_t{step}": normal(10 * step + 1, 2, 5)}
    CRD_INPUTS |= {
        f"idx{step}": labels(step, 8),
        f"neg{step}": {"gen": "integers", "seed": step, "shape": [2, 12], "lo": 0, "hi": 9, "dtype": "int64"},
    }
# What adapters read of an expected output: how many epochs to report, and which kept fractions.
ASKED = {
    "samples_per_epoch_head": [None] * 4,
    "medium_per_class_zero_based_window": dict.fromkeys(("0.25", "0.5", "0.75", "1.0")),
}

# name -> (inputs, params, relative tolerance)
VARIATIONS: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "loss/kd/two_classes": (logits(2.0, classes=2), {"T": 0.5}, 1e-9),
    "loss/kd/hot": (logits(5.0, 3, 1000), {"T": 50.0}, 1e-9),
    "loss/kd/float32_1e3": (logits(1e3, dtype="float32"), {"T": 1.0}, 1e-5),
    "loss/kd/float32_1e4": (logits(1e4, dtype="float32"), {"T": 4.0}, 1e-5),
    "loss/kd/float32_shifted": (logits(3.0, dtype="float32", shift=1e3), {"T": 2.0}, 1e-4),
    "loss/kd_total/no_kd": (logits(2.0), {"gamma_ce": 1.0, "alpha_kd": 0.0, "T": 3.0}, 1e-9),
    "loss/kd_total/no_ce": (logits(2.0), {"gamma_ce": 0.0, "alpha_kd": 2.0, "T": 3.0}, 1e-9),
    "loss/kd_total/float32_1e4": (logits(1e4, dtype="float32"), {"gamma_ce": 0.2, "alpha_kd": 0.8, "T": 4.0}, 1e-5),
    "loss/dkd/three_classes": (logits(2.0, classes=3), {"alpha": 2, "beta": 0.5, "T": 1}, 1e-9),
    "loss/dkd/float32_1e3": (logits(1e3, dtype="float32"), {"alpha": 1, "beta": 8, "T": 1}, 1e-5),
    "loss/dkd/float32_1e4": (logits(1e4, dtype="float32"), {"alpha": 1, "beta": 8, "T": 4}, 1e-5),
    "loss/dkd_objective/epoch20": (logits(3.0), OBJECTIVE | {"epoch": 20}, 1e-9),
    "loss/dkd_objective/epoch1": (logits(3.0), OBJECTIVE | {"epoch": 1}, 1e-9),
    "loss/lskd/two_classes": (logits(3.0, classes=2), {"T": 2.0}, 1e-9),
    "loss/lskd/float32_1e4": (logits(1e4, dtype="float32"), {"T": 1.0}, 1e-5),
    "loss/normkd/two_classes": (logits(3.0, classes=2), {"T_norm": 0.5}, 1e-9),
    "loss/normkd/float32_1e4": (logits(1e4, dtype="float32"), {"T_norm": 0.75}, 1e-5),
    "loss/skd/alpha_0": (logits(3.0), {"T": 2.0, "alpha": 0.0}, 1e-9),
    "loss/skd/alpha_1_float32_1e4": (logits(1e4, dtype="float32"), {"T": 4.0, "alpha": 1.0}, 1e-5),
    "loss/at/odd_power": (maps(((2, 3, 6, 6), (2, 5, 2, 2)), ((2, 1, 1, 1), (2, 2, 3, 3))), {"p": 3}, 1e-9),
    "loss/at/power_1_one_sample": (maps(((1, 3, 4, 4), (1, 3, 4, 4))), {"p": 1}, 1e-9),
    "loss/at/float32_1e4": (maps(((3, 4, 4, 4), (3, 2, 2, 2)), scale=1e4, dtype="float32"), {"p": 2}, 1e-5),
    "loss/at/zero_maps": (maps(((2, 3, 2, 2), (2, 3, 2, 2)), post=["relu"], shift=-1.0), {"p": 2}, 1e-9),
    "loss/nst/one_channel": (maps(((3, 1, 6, 6), (3, 2, 3, 3)), ((3, 4, 1, 1), (3, 5, 2, 2))), {}, 1e-9),
    "loss/sp/zero_rows": ({"g_s": [ZERO_ROWS], "g_t": [normal(3, 4, 6)]}, {}, 1e-9),
    "loss/sp/float32_1e3": (maps(((5, 2, 3, 3), (5, 7)), scale=1e3, dtype="float32"), {}, 1e-5),
    "loss/fsp/growing": (maps(((2, 3, 2, 2), (2, 3, 2, 2)), ((2, 4, 4, 4), (2, 4, 4, 4))), {}, 1e-9),
    "loss/ab/margin_2": (maps(((3, 2, 2, 2), (3, 2, 2, 2)), scale=2.0), {"margin": 2.0}, 1e-9),
    "loss/ab/margin_0": (maps(((3, 2, 2, 2), (3, 2, 2, 2)), ((3, 1, 1, 1), (3, 1, 1, 1))), {"margin": 0.0}, 1e-9),
    "loss/pkt/zero_rows": ({"f_s": ZERO_ROWS, "f_t": normal(4, 4, 5)}, {"eps": 1e-7}, 1e-9),
    "loss/pkt/large_eps_float32": (pair((7, 4), (7, 3), scale=1e3, dtype="float32"), {"eps": 1e-3}, 1e-4),
    "loss/rkd/maps": (pair((4, 3, 2, 2), (4, 5)), {"w_d": 25, "w_a": 50, "eps": 1e-12}, 1e-8),
    "loss/rkd/duplicate_rows": ({"f_s": ZERO_ROWS, "f_t": normal(4, 4, 5)}, {"w_d": 2, "w_a": 3, "eps": 1e-6}, 1e-8),
    "loss/rkd/two_samples": (pair((2, 3), (2, 6)), {"w_d": 1, "w_a": 1}, 1e-8),
    "loss/ft/square": (pair((3, 4, 2, 2), (3, 5, 6, 6)), {"p1": 1, "p2": 2}, 1e-9),
    "loss/ft/cube_of_cubes": (pair((2, 4, 4, 4), (2, 4, 4, 4)), {"p1": 3, "p2": 3}, 1e-9),
    "loss/vid/pooled_teacher": (
        pair((2, 3, 2, 2), (2, 4, 4, 4))
        | weights(**{f"regressor__{i}__weight": (4, c_in, 1, 1) for i, c_in in ((0, 3), (2, 4), (4, 4))})
        | {"w:log_scale": normal(7, 4, scale=20.0)},
        {"eps": 1e-3, "init_pred_var": 2.0},
        1e-9,
    ),
    "loss/hint/larger_by_two": (pair((3, 2, 6, 6), (3, 4, 4, 4)) | regressor(4, 2, 3, 3), {}, 1e-9),
    "loss/hint/half": (pair((3, 2, 2, 2), (3, 3, 4, 4)) | regressor(2, 3, 4, 4), {}, 1e-9),
    "loss/hint/twice": (pair((3, 2, 4, 4), (3, 3, 2, 2)) | regressor(3, 2, 3, 3), {}, 1e-9),
    "loss/cc/two_samples": (pair((2, 3), (2, 3)), {}, 1e-9),
    "loss/cc/embed": (pair((4, 5), (4, 2)) | linear("embed_s", 6, 5) | linear("embed_t", 6, 2), {"feat_dim": 6}, 1e-9),
    "loss/pefd/one_projector": (pair((5, 4), (5, 7)) | linear("proj1", 7, 4), {"num_projectors": 1}, 1e-9),
    "loss/crd/three_steps": (CRD_INPUTS, CRD_SIZES, 1e-7),
    "score/el2n/float32_1e4": ({"logits": normal(5, 14, 3, scale=1e4, dtype="float32"), "labels": IMBALANCED}, {}, 1e-6),
    "score/grand_full/wide": (
        {
            "X": normal(1, 5, 3), "labels": labels(1, 1, 1, 0, 1), "W1": normal(2, 3, 9), "b1": normal(3, 9),
            "W2": normal(4, 9, 2), "b2": normal(5, 2),
        },
        {},
        1e-8,
    ),
    "score/grand_last_layer/imbalanced": (
        {"features": normal(1, 14, 4, dtype="float32"), "labels": IMBALANCED}
        | {f"{n}{r}": normal(5 + r, 3, *more, dtype="float32") for r in (0, 1, 2) for n, more in (("W", (4,)), ("b", ()))},
        {"fraction": 0.3, "repeat": 3, "selection_batch": 5, "balance": True},
        2e-5,
    ),
    "score/ccs_dynamics/float32_saturated": (
        {"logits": normal(1, 12, 6, 4, scale=1e3, dtype="float32"), "labels": labels(0, 0, 0, 3, 1, 0)},
        {"max_epoch": 3, "log_prob_dtype": "float32"},
        1e-5,
    ),
    "score/memorization/always_and_never": (
        {
            "mask": {"gen": "bernoulli", "seed": 1, "shape": [9, 5], "p": 0.5},
            "train_correct": {"gen": "bernoulli", "seed": 2, "shape": [9, 5], "p": 0.6},
            "test_correct": {"gen": "bernoulli", "seed": 3, "shape": [9, 2], "p": 0.3},
        },
        {"override": "mask[:,1]=0, mask[:,4]=1 after generation"},
        1e-9,
    ),
    "score/herding/imbalanced": ({"features": normal(1, 14, 3), "labels": IMBALANCED}, {"fraction": 0.6}, 1e-9),
    "score/moderate/imbalanced": ({"features": normal(2, 14, 3), "labels": labels(*[0] * 9, *[1] * 5)}, {"rate": 0.3}, 1e-9),
    "score/ccs/ten_strata_no_cut": (
        {"score": normal(3, 80, shift=9.0), "aum": normal(4, 80)},
        {"coreset_num": 33, "mis_num": 0, "strata": 10},
        1e-9,
    ),
    "score/infobatch/r0.95": (
        {"loss": normal(1, 40, post=["abs"]), "batch_loss": normal(2, 9, post=["abs"])},
        {"prune_ratio": 0.95, "delta": 0.1, "rng": "np.random.seed(7) before prune"},
        1e-6,
    ),
    "score/infobatch_schedule/never_whole": ({}, {"num_epochs": 6, "delta": 1.0, "n": 31, "prune_ratio": 0.25}, 1e-9),
    "score/infobatch_schedule/fractional": ({}, {"num_epochs": 9, "delta": 0.7, "n": 31, "prune_ratio": 0.25}, 1e-9),
    "formula/medium_difficulty/imbalanced": ({"logits_t": normal(1, 14, 3, scale=9.0), "labels": IMBALANCED}, {}, 1e-9),
    "formula/ridge_self_distillation/more_features_than_samples": (
        {"X": normal(1, 6, 8), "theta": normal(2, 6), "noise": normal(3, 8)},
        {"lam": 0.05, "alpha": 1.0, "Nf": 3},
        1e-8,
    ),
}  # fmt: skip


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, float):
        yield value


def exact(inputs: Any) -> Any:
    """The inputs with every float32 array as float64."""
    if isinstance(inputs, dict):
        return {key: exact(value) for key, value in inputs.items()}
    if isinstance(inputs, list):
        return [exact(value) for value in inputs]
    return inputs.astype(np.float64) if inputs.dtype == np.float32 else inputs


def compared(name: str, got: Any, want: Any, rtol: float) -> list[str]:
    reduce = PORTABLE.get(adapted(name), lambda output: output)
    return list(differences(reduce(got), reduce(want), rtol))


@pytest.mark.parametrize("name", CHECKED)
def test_the_formulas_reproduce_the_reference_numbers(name: str) -> None:
    case = PUBLIC[name]
    want, got = plain(case["output"]), plain(FORMULAS[adapted(name)](case, built(name, case)))
    said = {key: want[key] for key in got if key in want}
    assert said, f"the formula of {name} says nothing of its case"
    for key, value in said.items():
        if isinstance(value, dict):  # of a dictionary too the formula may say a part
            said[key] = {k: v for k, v in value.items() if k in got[key]}
    assert not compared(name, got, said, max(case["rtol"], 1e-8))  # the formulas take no pains with rounding


@pytest.mark.parametrize("name", VARIATIONS)
def test_an_adapter_agrees_with_the_formula(name: str) -> None:
    specs, params, rtol = VARIATIONS[name]
    inputs = {key: make(spec) for key, spec in specs.items()}
    case = {"name": name, "params": params, "output": ASKED}
    want, got = plain(FORMULAS[adapted(name)](case, exact(inputs))), plain(ADAPTERS[adapted(name)](case, inputs))
    found = compared(name, got, want, rtol)
    assert not found, f"{len(found)} differences, first: " + "; ".join(found[:5])
    assert all(map(math.isfinite, numbers(got)))
