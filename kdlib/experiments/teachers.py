"""Teachers that are shipped: `data/teachers/NAME.safetensors`, each with a card `NAME.json` beside it.

A card says what the network was trained on and how (the description of its reference run, without the digest of the
code), its test accuracy, what it cost and which commit trained it. A run finds a shipped teacher by that description
before it trains one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from kdlib.data.core import Dataset
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of
from kdlib.experiments.shipped import find, folder, write_card
from kdlib.models import build
from kdlib.models.weights import load_foreign
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.reference_runs import Arrays
from kdlib.utils.devices import resolve_device

log = logging.getLogger(__name__)


def shipped(data: Dataset, description: dict) -> Arrays | None:
    """The arrays of the shipped network with this description, as `reference_runs.networks` has them, or None.

    There are no `curve/*`: a card keeps the accuracy, not the course of training.
    """
    found = find("teachers", data.name, description)
    if found is None:
        return None
    log.info("the teacher comes from %s", found[0].name)
    return _arrays(*found)


def _arrays(card: Path, about: dict[str, Any]) -> Arrays:
    weights = load_file(card.with_suffix(".safetensors"))
    measured = {name: np.array([about[name]]) for name in ("test_acc", "seconds", "images")}
    return {**{f"w/{name}": array[None] for name, array in weights.items()}, **measured}


def ship(name: str, arrays: Arrays, data: Dataset, description: dict, about: dict[str, Any]) -> Path:
    """Write the first network of `arrays`, trained on `data`, and its card; returns the path of the weights."""
    folder("teachers").mkdir(parents=True, exist_ok=True)
    target = folder("teachers") / f"{name}.safetensors"
    save_file({key[2:]: np.ascontiguousarray(a[0]) for key, a in arrays.items() if key.startswith("w/")}, target)
    measured = {key: float(arrays[key][0]) for key in ("test_acc", "seconds", "images")}
    write_card(target, data.name, description, {**measured, **about})
    return target


def from_file(r: Run) -> Arrays:
    """The teacher of `teacher_file` as `reference_runs.networks` has it, with its accuracy on the test samples.

    Raises ValueError, in one line, for a file that cannot be read, holds more than weights or does not fit the network.
    """
    data = dataset_of(r)
    network = build(r.teacher, data.num_classes, data.image_shape[0], data.image_shape[1:])
    load_foreign(network, r.teacher_file)
    network = network.to(resolve_device(r.device)).eval()
    found = float(accuracy(predict(network, data.test_x, data), data.test_y))
    log.info("the teacher of %s has %.2f%% on the test samples of %s", r.teacher_file, found, data.name)
    weights = {f"w/{name}": value.cpu().numpy()[None] for name, value in network.state_dict().items()}
    return {**weights, "test_acc": np.array([found]), "seconds": np.zeros(1), "images": np.zeros(1)}
