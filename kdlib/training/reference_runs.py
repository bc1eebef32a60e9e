"""Trainings on all the data, done once and kept: their weights are teachers, their records are signals for scorers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kdlib.data.augment import AUGMENTATIONS, apply_views, normalise
from kdlib.data.datasets import Dataset
from kdlib.losses.logits import cross_entropy
from kdlib.losses.regression import squared_error
from kdlib.models import build
from kdlib.scorers import Signals
from kdlib.scorers.errors import difficulty
from kdlib.selection.rules import keep_indices
from kdlib.store.artefacts import Store
from kdlib.training.batched import worth_stacking
from kdlib.training.checkpoint import StoredCheckpoint
from kdlib.training.evaluate import predict
from kdlib.training.loop import Loop, Member, Trained, train_company
from kdlib.training.recipe import Recipe
from kdlib.utils import seeds
from kdlib.utils.devices import forward_batch, resolve_device


@dataclass(frozen=True)
class FullRuns:
    """Which trainings: `model` with `recipe` on a random, class-balanced `fraction` of the data, once for each seed.

    `role` ("teacher" or "scored") names the stream that the seeds are drawn from, so that a teacher, a scored network
    and a student of equal seed share neither initial weights nor order nor views. `early` (share of the epochs, at
    least one epoch): when the early probabilities and gradient norms are taken.
    """

    model: str
    recipe: Recipe
    seeds: tuple[int, ...] = (0,)
    fraction: float = 1.0
    early: float = 0.1
    role: str = "teacher"

    def describe(self, data: Dataset) -> dict:
        knobs = dataclasses.asdict(self)
        for name in ("compile", "eval_every"):  # the first, like the device, changes the rounding only
            del knobs["recipe"][name]
        return {"data": data.content_hash, **knobs}

    def stream(self, seed: int) -> int:
        """The seed that all draws of the training with this seed come from."""
        return seeds.integer(seed, self.role)

    def early_epoch(self) -> int:
        """1-based; 10% of the epochs as in the papers on EL2N and GraNd (20 of 200)."""
        return max(1, round(self.early * self.recipe.epochs))

    def members(self, data: Dataset) -> list[Member]:
        labels = None if data.is_regression else data.train_y.numpy()
        channels, size, _ = data.image_shape
        found = []
        for number in self.seeds:
            seed = self.stream(number)
            model = build(self.model, data.num_classes, channels, size, seed=seeds.integer(seed, "init"))
            rng = seeds.stream(seed, "subset")
            keep = keep_indices(rng.random(len(data.train_y)), self.fraction, labels=labels, rng=rng)
            found.append(Member(model, keep, seed, _targets_only if data.is_regression else cross_entropy))
        return found


def _targets_only(student: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
    return squared_error(student, None, targets, alpha=0.0)


def full_runs(runs: FullRuns, data: Dataset, store: Store, device: str = "auto") -> dict[str, np.ndarray]:
    """Weights and signals of `runs`, trained or fetched; every array has the runs as its first axis R.

    `w/NAME` (R, ...) weights; `correct` (R,E,N) bool and `margin` (R,E,N) at each presentation; `probs` (R,2,N,K) on the
    clean images at the early and the last epoch (`prob_epochs` (2,)); `embedding` (R,N,D); `test_acc` (R,) percent.
    """
    return store.arrays("full_runs", runs.describe(data), lambda: _train_full_runs(runs, data, store, device))


def _train_full_runs(runs: FullRuns, data: Dataset, store: Store, device: str) -> dict[str, np.ndarray]:
    members = runs.members(data)
    early: list[np.ndarray] = []

    def at_epoch(epoch: int, loop: Loop) -> None:
        if epoch == runs.early_epoch() and not data.is_regression:
            loop.stack.unstack([m.model for m in batch])
            early.extend(_probabilities(m.model, data) for m in batch)

    trained: list[Trained] = []
    together = len(members) if worth_stacking(members[0].model, resolve_device(device)) else 1
    for start in range(0, len(members), together):
        batch = members[start : start + together]
        resume = StoredCheckpoint(store, {**runs.describe(data), "start": start}, early)
        trained += train_company(
            batch, data, runs.recipe, record=not data.is_regression, device=device, on_epoch=at_epoch, resume=resume
        )
        resume.clear()
    if any(t.diverged for t in trained):
        raise RuntimeError(
            f"training {runs.model} on all data diverged (loss is not finite); lower lr {runs.recipe.lr:g}"
        )
    return _collect(runs, data, trained, early)


def _collect(runs: FullRuns, data: Dataset, trained: list[Trained], early: list[np.ndarray]) -> dict[str, np.ndarray]:
    states = [t.model.state_dict() for t in trained]
    weights = {f"w/{name}": np.stack([s[name].cpu().numpy() for s in states]) for name in states[0]}
    weights["test_acc"] = np.array([t.test_acc[-1] for t in trained])
    if data.is_regression:  # the scorers' signals speak of classes
        return weights
    late = [_probabilities(t.model, data) for t in trained]
    return weights | {
        "correct": np.stack([t.signals["correct"] for t in trained]),
        "margin": np.stack([t.signals["margin"] for t in trained]),
        "error": np.stack([t.signals["error"] for t in trained]),
        "probs": np.stack([np.stack(pair) for pair in zip(early, late, strict=True)]),
        "prob_epochs": np.array([runs.early_epoch(), runs.recipe.epochs]),
        "embedding": np.stack([embeddings(t.model, data) for t in trained]),
    }


def _probabilities(model: nn.Module, data: Dataset) -> np.ndarray:
    return predict(model, data.train_x, data).softmax(1).cpu().numpy()


@torch.no_grad()
def embeddings(model: nn.Module, data: Dataset) -> np.ndarray:
    """Penultimate features float32 (N, D) of the clean training images, in eval mode."""
    device = next(model.parameters()).device
    model.eval()
    parts = [
        model.features(normalise(x.to(device), data.mean, data.std)).embedding.float().cpu()  # type: ignore[operator]
        for x in data.train_x.split(forward_batch(data.train_x, device))
    ]
    return torch.cat(parts).numpy()


def load_model(runs: FullRuns, data: Dataset, store: Store, device: str = "auto", row: int = 0) -> nn.Module:
    """The trained network of the run in `row`, frozen and in eval mode."""
    arrays = full_runs(runs, data, store, device)
    channels, size, _ = data.image_shape
    model = build(runs.model, data.num_classes, channels, size)
    weights = {name[2:]: torch.from_numpy(np.array(v[row])) for name, v in arrays.items() if name.startswith("w/")}
    model.load_state_dict(weights)
    model.requires_grad_(False).eval()
    return model.to(resolve_device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]


# -- signals


SUBSET_RUNS, SUBSET_FRACTION = 10, 0.7  # networks for each seed of the runs; Feldman & Zhang 2020 take 2000 at 0.7
# In which stored entry a signal is; all others are in `full_runs`.
KINDS = {
    "grad_norm": "gradients", "grad_norm_last": "gradients", "subset_correct": "subsets", "trained": "subsets",
    "view_difficulty": "view_scores",
}  # fmt: skip


@dataclass(frozen=True)
class Extras:
    """How much the signals take that the trainings alone do not hold.

    subsets: memorization's subset models for each seed; views: augmented views (of `augment`) that each sample's
    `view_difficulty` averages over.
    """

    subsets: int = SUBSET_RUNS
    views: int = 0
    augment: str = "none"


def sources(needs: Sequence[str], runs: FullRuns, data: Dataset, extras: Extras = Extras()) -> dict[str, dict]:
    """kind -> description of the store's entries that hold the signals `needs`."""
    trainings = runs.describe(data)
    # the usual number is left out of the description, so that subset models stored before there was a choice are found
    count = {} if extras.subsets == 10 else {"subsets": extras.subsets}
    descriptions = {
        "full_runs": trainings,
        "gradients": trainings,
        "subsets": {**trainings, **count},
        "view_scores": {**trainings, "views": extras.views, "view_augment": extras.augment},
    }
    return {kind: descriptions[kind] for kind in dict.fromkeys(KINDS.get(need, "full_runs") for need in needs)}


def signals(
    needs: Sequence[str], runs: FullRuns, data: Dataset, store: Store, device: str = "auto", extras: Extras = Extras()
) -> Signals:
    """The fields of `Signals` named in `needs`, from `runs`; only what is asked for is computed.

    `extras` says how many subset models and views those signals take that need some; ValueError for no view.
    """
    make = {
        "full_runs": lambda: _train_full_runs(runs, data, store, device),
        "gradients": lambda: _gradients(runs, data, device),
        "subsets": lambda: _subset_models(runs, data, device, extras.subsets),
        "view_scores": lambda: _view_scores(runs, data, store, device, extras),
    }
    fields: dict[str, np.ndarray] = {}
    for kind, description in sources(needs, runs, data, extras).items():
        arrays = store.arrays(kind, description, make[kind])
        asked = {"prob_epochs", *needs} - set(KINDS) if kind == "full_runs" else set(arrays)
        fields |= {name: arrays[name] for name in asked}
    if "embedding" in fields:
        fields["embedding"] = fields["embedding"][-1]
    return Signals(**fields)


def _gradients(runs: FullRuns, data: Dataset, device: str) -> dict[str, np.ndarray]:
    """Gradient norms (R,N) of the clean training images at the early epoch, all parameters and last layer."""
    from kdlib.scorers.gradients import grand, grand_last

    members = runs.members(data)
    for member in members:
        train_company([member], data, runs.recipe, device=device, stop_after=runs.early_epoch())
    where = next(members[0].model.parameters()).device
    x = normalise(data.train_x.to(where), data.mean, data.std)
    y = data.train_y.to(where)
    return {
        "grad_norm": np.stack([grand(m.model, x, y) for m in members]),
        "grad_norm_last": np.stack([grand_last(m.model, x, y) for m in members]),
    }


def _view_scores(runs: FullRuns, data: Dataset, store: Store, device: str, extras: Extras) -> dict[str, np.ndarray]:
    """The trained networks' cross-entropy in nats (R,N), mean over augmented views of each training image.

    "Medium-difficulty samples constitute smoothed decision boundary ...", Eq. 3, with views in place of the clean image.
    """
    if extras.views < 1:
        raise ValueError(f"view_difficulty averages over at least 1 view, got {extras.views}")
    size, labels = data.image_shape[1], data.train_y
    found = np.empty((len(runs.seeds), len(labels)))
    for row, seed in enumerate(runs.seeds):
        model = load_model(runs, data, store, device, row)
        streams = [seeds.stream(runs.stream(seed), "score", view) for view in range(extras.views)]
        drawn = np.stack([AUGMENTATIONS[extras.augment].draw(rng, size, len(labels)) for rng in streams])
        for part in torch.arange(len(labels)).split(500):
            x, views = data.train_x[part], torch.from_numpy(drawn)[:, part]
            logits = torch.stack([predict(model, apply_views(x, ids, extras.augment), data) for ids in views])
            found[row, part] = difficulty(logits.cpu().numpy(), labels[part].numpy())
    return {"view_difficulty": found}


def _subset_models(runs: FullRuns, data: Dataset, device: str, count: int) -> dict[str, np.ndarray]:
    """Feldman & Zhang's subset models: which samples each was trained on and gets right, both (S,N) bool."""
    labels = data.train_y.numpy()
    channels, size, _ = data.image_shape
    members = []
    for seed in map(runs.stream, runs.seeds):
        for i in range(count):
            rng = seeds.stream(seed, "subset", i + 1)
            keep = np.sort(rng.permutation(len(labels))[: round(SUBSET_FRACTION * len(labels))])
            model = build(runs.model, data.num_classes, channels, size, seed=seeds.integer(seed, "init", i + 1))
            members.append(Member(model, keep, seeds.integer(seed, "order", i), cross_entropy))
    together = 32 if worth_stacking(members[0].model, resolve_device(device)) else 1
    quick = dataclasses.replace(runs.recipe, eval_every=runs.recipe.epochs)
    for start in range(0, len(members), together):
        train_company(members[start : start + together], data, quick, device=device)
    trained = np.zeros((len(members), len(labels)), dtype=bool)
    for row, member in zip(trained, members, strict=True):
        row[member.keep] = True
    right = [predict(m.model, data.train_x, data).argmax(1).cpu().numpy() == labels for m in members]
    return {"trained": trained, "subset_correct": np.stack(right)}
