"""Signals of a regression: what `kdlib.scorers.regression` reads, from networks that are trained for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from kdlib.data.augment import normalise
from kdlib.data.core import Dataset
from kdlib.scorers.regression import RegressionSignals, gradient_length, last_layer_length
from kdlib.training.evaluate import embeddings, predict
from kdlib.training.loop import Member, train_batched
from kdlib.training.reference_runs import ReferenceRuns, Workshop, load_model
from kdlib.training.signals import SUBSET_FRACTION
from kdlib.utils import seeds


def record_regression(
    scored: ReferenceRuns, teacher: ReferenceRuns, shop: Workshop, subsets: int = 20
) -> RegressionSignals:
    """Train what the scores of a regression read: early networks (R) and `subsets` subset models (S); the teacher is stored.

    ValueError for a dataset with classes.
    """
    data = shop.data
    if not data.is_regression:
        raise ValueError(f"{data.name} has classes; take kdlib.training.signals.record")
    y, x = data.train_y, normalise(data.train_x, data.mean, data.std)
    members = shop.members(scored)
    train_batched(members, data, scored.recipe, device="cpu", stop_after=scored.early_epoch())
    early = [m.model.eval() for m in members]
    trained, subset = _subset_models(scored, shop, subsets)
    model = load_model(teacher, shop).cpu()
    with torch.no_grad():
        last = [last_layer_length(m.features(x).embedding, m(x)[:, 0], y) for m in early]  # type: ignore[operator]
    return RegressionSignals(
        early=np.stack([_predictions(m, data) for m in early]),
        gradient=np.stack([gradient_length(m, x, y) for m in early]),
        gradient_last=np.stack(last),
        teacher=_predictions(model, data),
        embedding=embeddings(model, data),
        trained=trained,
        subset=subset,
    )


def _predictions(model: nn.Module, data: Dataset) -> np.ndarray:
    return predict(model, data.train_x, data)[:, 0].cpu().numpy()


def _subset_models(scored: ReferenceRuns, shop: Workshop, subsets: int) -> tuple[np.ndarray, np.ndarray]:
    """Which samples each subset model was trained on, bool (S, N), and its predictions (S, N)."""
    data, total = shop.data, len(shop.data.train_y)
    many = dataclasses.replace(scored, seeds=tuple(range(subsets)))
    count = round(SUBSET_FRACTION * total)
    members: list[Member] = []
    for member in shop.members(many):
        keep = np.sort(seeds.stream(member.seed, "subset", 1).permutation(total)[:count])
        members.append(dataclasses.replace(member, keep=keep))
    quick = dataclasses.replace(scored.recipe, eval_every=scored.recipe.epochs)
    train_batched(members, data, quick, device="cpu")
    trained = np.zeros((subsets, total), dtype=bool)
    for row, member in zip(trained, members, strict=True):
        row[member.keep] = True
    return trained, np.stack([_predictions(m.model, data) for m in members])
