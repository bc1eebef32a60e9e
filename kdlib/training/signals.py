"""Signals: what scorers read, fetched from reference runs or made from them; only what is asked for is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kdlib.data.augment import AUGMENTATIONS, apply_views, normalise
from kdlib.losses.logits import cross_entropy
from kdlib.models import build
from kdlib.scorers import Signals
from kdlib.scorers.errors import difficulty
from kdlib.scorers.gradients import grand, grand_last
from kdlib.training.evaluate import predict
from kdlib.training.loop import Member, Trained, train_batched
from kdlib.training.reference_runs import (
    Arrays,
    ReferenceRuns,
    Workshop,
    dynamics,
    load_model,
    networks,
    outputs,
    refuse_divergence,
    stackable,
    with_early,
)
from kdlib.utils import seeds

SUBSET_FRACTION = 0.7  # of the data that each subset model is trained on; Feldman & Zhang 2020 take 2000 models at 0.7


@dataclass(frozen=True)
class Recording:
    """How much is recorded beyond a plain training; a scorer's options of the same names set it.

    at:      share of the epochs after which early probabilities and gradient norms are taken; None: the run's own (0.1)
    views:   augmented views (of `augment`) that each sample's `view_difficulty` averages over
    subsets: memorization's subset models for each seed, at least 2
    """

    at: float | None = None
    views: int = 0
    subsets: int = 10
    augment: str = "none"

    def __post_init__(self) -> None:
        if self.at is not None and not 0 < self.at <= 1:
            raise ValueError(f"at is a share of the epochs in (0, 1], got {self.at:g}")
        if not 0 <= self.views <= 1000:
            raise ValueError(f"views must lie in [0, 1000], got {self.views}")
        if not 2 <= self.subsets <= 10_000:
            raise ValueError(f"subsets must lie in [2, 10000], got {self.subsets}")
        if self.views and self.augment == "none":
            raise ValueError("views need an augmentation, and augment is none; choose augment crop or crop_flip")


# Which function makes a signal, by the signal's name.
Maker = Callable[[ReferenceRuns, Workshop, Recording], Arrays]


def _dynamics(runs: ReferenceRuns, shop: Workshop, recording: Recording) -> Arrays:
    return dynamics(runs, shop)


def _outputs(runs: ReferenceRuns, shop: Workshop, recording: Recording) -> Arrays:
    found = outputs(runs, shop)
    return {"late_probs": found["late_probs"], "embedding": found["embedding"][-1]}


def _gradients(runs: ReferenceRuns, shop: Workshop, recording: Recording) -> Arrays:
    """Gradient norms (R,N) of the clean training images at the early epoch, all parameters and last layer."""
    found = [_gradients_of_one(one, shop) for one in _one_by_one(runs)]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _one_by_one(runs: ReferenceRuns) -> list[ReferenceRuns]:
    return [dataclasses.replace(runs, seeds=(seed,)) for seed in runs.seeds]


def _gradients_of_one(runs: ReferenceRuns, shop: Workshop) -> Arrays:
    def make() -> Arrays:
        data, members = shop.data, shop.members(runs)
        resume = shop.checkpoint({**description, "for": "gradients"}, [], ("gradients", description))
        options = {"device": shop.device, "stop_after": runs.early_epoch(), "resume": resume}
        trained = train_batched(members, data, runs.recipe, **options)  # type: ignore[arg-type]
        refuse_divergence(trained, runs)
        model = members[0].model
        where = next(model.parameters()).device
        x, y = normalise(data.train_x.to(where), data.mean, data.std), data.train_y.to(where)
        if resume:
            resume.clear()
        norms = {"grad_norm": grand(model, x, y)[None], "grad_norm_last": grand_last(model, x, y)[None]}
        return {**norms, **_cost(trained)}

    description = with_early(runs, shop)
    return shop.store.arrays("gradients", description, make)


def _view_scores(runs: ReferenceRuns, shop: Workshop, recording: Recording) -> Arrays:
    """The trained networks' cross-entropy in nats (R,N), mean over augmented views of each training image.

    "Medium-difficulty samples constitute smoothed decision boundary ...", Eq. 3, with views in place of the clean image.
    """

    def make() -> Arrays:
        found = [_over_views(runs, shop, recording, row) for row in range(len(runs.seeds))]
        return {"view_difficulty": np.stack(found)}

    return shop.store.arrays("view_scores", _views_description(runs, shop, recording), make)


def _views_description(runs: ReferenceRuns, shop: Workshop, recording: Recording) -> dict:
    return {**shop.describe(runs), "views": recording.views, "view_augment": recording.augment}


def _over_views(runs: ReferenceRuns, shop: Workshop, recording: Recording, row: int) -> np.ndarray:
    data, augmentation = shop.data, AUGMENTATIONS[recording.augment]
    size, labels, seed = data.image_shape[1], data.train_y, runs.stream(runs.seeds[row])
    model = load_model(runs, shop, row)
    streams = [seeds.stream(seed, "score", view) for view in range(recording.views)]
    drawn = np.stack([augmentation.draw(rng, size, len(labels)) for rng in streams])
    found = np.empty(len(labels))
    for part in torch.arange(len(labels)).split(500):
        x, views = data.train_x[part], torch.from_numpy(drawn)[:, part]
        logits = torch.stack([predict(model, apply_views(x, ids, recording.augment), data) for ids in views])
        found[part] = difficulty(logits.cpu().numpy(), labels[part].numpy())
    return found


TOGETHER = 32  # subset models that train side by side, and that are stored as one entry


def _subset_models(runs: ReferenceRuns, shop: Workshop, recording: Recording) -> Arrays:
    """Feldman & Zhang's subset models: which samples each was trained on and gets right, both (S,N) bool."""
    found = [_subset_group(runs, shop, group) for group in _subset_groups(runs, shop, recording)]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _subset_groups(runs: ReferenceRuns, shop: Workshop, recording: Recording) -> list[list[tuple[int, int]]]:
    """(seed, number) of the subset models, in groups that train side by side."""
    together = TOGETHER if stackable(runs.model, shop.data, shop.torch_device) else 1
    wanted = [(seed, i) for seed in runs.seeds for i in range(recording.subsets)]
    return [wanted[start : start + together] for start in range(0, len(wanted), together)]


def _subsets_description(runs: ReferenceRuns, shop: Workshop, group: list[tuple[int, int]]) -> dict:
    return {**shop.describe(dataclasses.replace(runs, seeds=())), "subset_models": [list(one) for one in group]}


def _subset_group(runs: ReferenceRuns, shop: Workshop, group: list[tuple[int, int]]) -> Arrays:
    def make() -> Arrays:
        labels = shop.data.train_y.numpy()
        members = [_subset_member(runs, shop, *which) for which in group]
        quick = dataclasses.replace(runs.recipe, eval_every=runs.recipe.epochs)
        resume = shop.checkpoint(description, [], ("subsets", description))
        finished = train_batched(members, shop.data, quick, device=shop.device, resume=resume)
        refuse_divergence(finished, runs)
        trained = np.zeros((len(members), len(labels)), dtype=bool)
        for row, member in zip(trained, members, strict=True):
            row[member.keep] = True
        images = shop.data.train_x
        right = [predict(m.model, images, shop.data).argmax(1).cpu().numpy() == labels for m in members]
        if resume:
            resume.clear()
        return {"trained": trained, "subset_correct": np.stack(right), **_cost(finished)}

    description = _subsets_description(runs, shop, group)
    return shop.store.arrays("subsets", description, make)


def _subset_member(runs: ReferenceRuns, shop: Workshop, seed: int, i: int) -> Member:
    data, stream = shop.data, runs.stream(seed)
    channels = data.image_shape[0]
    total = len(data.train_y)
    keep = np.sort(seeds.stream(stream, "subset", i + 1).permutation(total)[: round(SUBSET_FRACTION * total)])
    model = build(
        runs.model, data.num_classes, channels, data.image_shape[1:], seed=seeds.integer(stream, "init", i + 1)
    )
    return Member(model, keep, seeds.integer(stream, "order", i), cross_entropy)


# signal -> how it is made
MAKERS: dict[str, Maker] = {
    "correct": _dynamics, "margin": _dynamics, "error": _dynamics, "early_probs": _dynamics,
    "late_probs": _outputs, "embedding": _outputs,
    "grad_norm": _gradients, "grad_norm_last": _gradients,
    "view_difficulty": _view_scores,
    "trained": _subset_models, "subset_correct": _subset_models,
}  # fmt: skip


def record(needs: Sequence[str], runs: ReferenceRuns, shop: Workshop, recording: Recording = Recording()) -> Signals:
    """The fields of `Signals` named in `needs`, from `runs`."""
    if recording.at is not None:
        runs = dataclasses.replace(runs, early=recording.at)
    found: dict[str, np.ndarray] = {}
    for maker in dict.fromkeys(MAKERS[need] for need in needs):
        found |= maker(runs, shop, recording)
    return Signals(**_fields(found, needs))


def sources(
    needs: Sequence[str], runs: ReferenceRuns, shop: Workshop, recording: Recording = Recording()
) -> list[tuple[str, dict]]:
    """(kind, description) of the stored entries that `record` reads, whether they are there or not."""
    if recording.at is not None:
        runs = dataclasses.replace(runs, early=recording.at)
    makers, found = {MAKERS[need] for need in needs}, []
    for part in runs.parts(shop.data, shop.torch_device) if makers - {_subset_models, _gradients} else ():
        described = shop.describe(part)
        found.append(("networks", described))
        found += [("outputs", described)] if _outputs in makers else []
        found += [("dynamics", with_early(part, shop))] if _dynamics in makers else []
    if _view_scores in makers:
        found.append(("view_scores", _views_description(runs, shop, recording)))
    if _gradients in makers:
        found += [("gradients", with_early(one, shop)) for one in _one_by_one(runs)]
    if _subset_models in makers:
        found += [
            ("subsets", _subsets_description(runs, shop, group)) for group in _subset_groups(runs, shop, recording)
        ]
    return found


def cost_of(
    needs: Sequence[str], runs: ReferenceRuns, shop: Workshop, recording: Recording = Recording()
) -> tuple[float, int]:
    """Wall time (s) and samples presented in the trainings behind the signals; each training counts once."""
    if recording.at is not None:
        runs = dataclasses.replace(runs, early=recording.at)
    makers = {MAKERS[need] for need in needs}
    found = [maker(runs, shop, recording) for maker in makers & {_gradients, _subset_models}]
    if makers - {_gradients, _subset_models}:
        found.append(networks(runs, shop))
    return float(sum(part["seconds"].sum() for part in found)), int(sum(part["images"].sum() for part in found))


def _cost(trained: Sequence[Trained]) -> Arrays:
    return {"seconds": np.array([t.seconds for t in trained]), "images": np.array([t.images for t in trained])}


def _fields(found: Mapping[str, np.ndarray], needs: Sequence[str]) -> Arrays:
    return {name: found[name] for name in needs}
