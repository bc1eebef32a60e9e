"""Facts about public code and the papers: defaults, recipes, published accuracies.

The project carries them in `data/paper/facts.json`, which lessons read. Where kdlib itself uses a value, the adapter
puts kdlib's own in the place of the file's, so that a changed default or a typo in a recipe shows up here.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable
from typing import Any

from kdlib.experiments.run import PRESETS, Run
from kdlib.losses import FEATURE_LOSSES, LOSSES, REFERENCE_SETTINGS, relational
from kdlib.losses.crd import CRD
from kdlib.models import MODELS
from kdlib.training.recipe import Recipe
from kdlib.utils.paths import root

Facts = dict[str, Any]
FILE = root() / "data" / "paper" / "facts.json"
# RepDistiller's name of each feature loss -> kdlib's
BETAS = {
    "hint": "fitnets", "attention": "at", "similarity": "sp", "correlation": "cc", "vid": "vid", "rkd": "rkd",
    "pkt": "pkt", "abound": "ab", "factor": "ft", "fsp": "fsp", "nst": "nst", "crd": "crd",
}  # fmt: skip
CONFIG_BETAS = {"VID": "vid", "AT": "at", "SP": "sp", "PKT": "pkt", "NST": "nst", "CRD": "crd", "FITNET": "fitnets"}


def default(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def paper_recipe() -> Recipe:
    fixed = PRESETS["paper"].fixed
    return Recipe(**{name: fixed[name] for name in ("epochs", "batch_size", "lr", "schedule", "milestones")})


def repdistiller(facts: Facts) -> None:
    """The recipe of the preset `paper`, the learning rate epoch by epoch, and the tuned weights."""
    recipe = paper_recipe()
    facts |= {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    facts |= {"batch_size": recipe.batch_size, "epochs": recipe.epochs, "lr_decay_epochs": list(recipe.milestones)}
    facts["lr_at_epoch"] = {e: recipe.rate((int(e) - 0.5) / recipe.epochs) for e in facts["lr_at_epoch"]}
    facts["kd_T"] = default(LOSSES["kd"], "tau")
    facts["default_betas"] |= {theirs: FEATURE_LOSSES[ours].tuned_beta for theirs, ours in BETAS.items()}
    facts["default_betas"]["kd"] |= dict(zip("ra", REFERENCE_SETTINGS["kd"]["weighting"], strict=True))


def configuration(facts: Facts) -> None:
    """Defaults of the mdistiller family that kdlib's losses share."""
    dkd = LOSSES["dkd"]
    facts["DKD"] |= {"ALPHA": default(dkd, "target_weight"), "BETA": default(dkd, "non_target_weight")}
    facts["DKD"] |= {"T": default(dkd, "tau"), "WARMUP": default(dkd, "warmup_epochs")}
    facts["RKD"]["DISTANCE_WEIGHT"] = default(relational, "distance_weight")
    facts["RKD"]["ANGLE_WEIGHT"] = default(relational, "angle_weight")
    facts["CRD"]["NCE"]["TEMPERATURE"] = default(CRD.setup, "temperature")
    facts["CRD"]["NCE"]["MOMENTUM"] = default(CRD.setup, "momentum")
    for theirs, ours in CONFIG_BETAS.items():
        facts[theirs]["LOSS"]["FEAT_WEIGHT"] = FEATURE_LOSSES[ours].tuned_beta


def weights_of(settings: Facts, kd: Facts, temperature: str) -> None:
    kd["LOSS"] |= dict(zip(("CE_WEIGHT", "KD_WEIGHT"), settings["weighting"], strict=True))
    kd[temperature] = settings["tau"]


def defaults_md(facts: Facts) -> None:
    configuration(facts)
    weights_of(REFERENCE_SETTINGS["kd"], facts["KD"], "TEMPERATURE")


def defaults_lskd(facts: Facts) -> None:
    configuration(facts)
    weights_of(REFERENCE_SETTINGS["lskd"], facts["KD"], "TEMPERATURE")


def defaults_normkd(facts: Facts) -> None:
    configuration(facts)
    weights_of(REFERENCE_SETTINGS["normkd"], facts["NormKD"], "TEMPERATURE_NORM")


def seed_papers(facts: Facts) -> None:
    """kdlib's defaults are those of "Distilling the Knowledge in Data Pruning"."""
    recipe, dkdp = paper_recipe(), facts["dkdp"]
    dkdp |= {"alpha_default": Run().alpha, "tau": Run().tau}
    dkdp["cifar_svhn"] |= {"epochs": recipe.epochs, "batch": recipe.batch_size, "lr": recipe.lr}
    dkdp["cifar_svhn"] |= {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    dkdp["cifar_svhn"]["decay"] = list(recipe.milestones)
    facts["medium"]["feature"]["weight"] = FEATURE_LOSSES["pefd"].tuned_beta


def readme_accuracy(facts: Facts) -> None:
    """Published accuracies; each network of the table must exist here."""
    networks = {name.lower().replace("-", "_") for name in facts["vanilla"]}
    missing = networks - {name.lower().replace("-", "_") for name in MODELS}
    assert not missing, f"networks of the table that kdlib lacks: {sorted(missing)}"


LIVE: dict[str, Callable[[Facts], None]] = {
    "recipe_repdistiller": repdistiller,
    "defaults_md": defaults_md,
    "defaults_lskd": defaults_lskd,
    "defaults_normkd": defaults_normkd,
    "seed_papers": seed_papers,
    "repdistiller_readme_accuracy": readme_accuracy,
}


def facts(case: Facts, inputs: Facts) -> Facts:
    name = case["name"].split("/")[1]
    found = copy.deepcopy(json.loads(FILE.read_text())[name]["facts"])
    LIVE.get(name, lambda unchanged: None)(found)
    return found


ADAPTERS = {"facts": facts}
