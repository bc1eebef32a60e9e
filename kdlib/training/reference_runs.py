"""Reference runs: trainings on labels alone, done once and kept. Their weights are teachers, their records feed scorers.

What a training leaves behind is stored in parts, so that a part is read only where it is needed:

    networks   weights, test accuracy, curves and cost of the trained networks
    dynamics   what was recorded at each presentation, and the probabilities at an early epoch
    outputs    probabilities and embeddings of the trained networks on the clean training images

Networks that gain by it train side by side and are one entry, others are one entry each, so that trainings that were
stopped lose at most the part in work. Everything is a pure function of `ReferenceRuns` and the dataset.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kdlib.data.core import Dataset
from kdlib.losses.logits import cross_entropy
from kdlib.losses.regression import squared_error
from kdlib.models import build
from kdlib.training.batched import worth_stacking
from kdlib.training.evaluate import embeddings, predict
from kdlib.training.loop import Checkpoint, Loop, Member, Trained, train_batched
from kdlib.training.recipe import Recipe, precision_used
from kdlib.utils import seeds
from kdlib.utils.devices import resolve_device

Arrays = dict[str, np.ndarray]


class ArtefactStore(Protocol):
    """What training asks of a store; `kdlib.store.Store` is one."""

    def arrays(self, kind: str, description: dict, make: Callable[[], Arrays]) -> Arrays: ...


@dataclass(frozen=True)
class ReferenceRuns:
    """Which trainings: `model` by `recipe`, once for each seed, on all samples or on those that `samples` describes.

    role:  "teacher" or "scored", the stream that the seeds are drawn from, so that a teacher, a scored network and a
           student of equal seed share neither initial weights nor order nor views
    early: share of the epochs, in (0, 1], after which early probabilities and gradient norms are taken; 10% as in
           the papers on EL2N and GraNd (20 of 200 epochs)
    samples: what identifies the samples, "" for all; `Workshop.keep` knows their ids
    rules: digest of the code that decides the outcome
    """

    model: str
    recipe: Recipe
    seeds: tuple[int, ...] = (0,)
    role: str = "teacher"
    early: float = 0.1
    samples: str = ""
    rules: str = ""

    def describe(self, data: Dataset, device: torch.device | None = None) -> dict:
        """What identifies the training: the data's content, `identity`, and the code."""
        return {"data": data.content_hash, **self.identity(device or resolve_device("auto")), "rules": self.rules}

    def identity(self, device: torch.device) -> dict[str, Any]:
        """Model, seeds, samples, and of the recipe what is not at its default; what `describe` says beside data and code."""
        recipe = {**self.recipe.active(), "precision": precision_used(self.recipe.precision, device)}
        found: dict[str, Any] = {"model": self.model, "role": self.role, "recipe": recipe, "seeds": list(self.seeds)}
        return {**found, "samples": self.samples} if self.samples else found

    def stream(self, seed: int) -> int:
        """The seed that all draws of the training with this seed come from."""
        return seeds.integer(seed, self.role)

    def early_epoch(self) -> int:
        """1-based."""
        return max(1, round(self.early * self.recipe.epochs))

    def members(self, data: Dataset, keep: np.ndarray | None = None) -> list[Member]:
        """The networks with their initial weights, the samples `keep` (sorted ids; all, if None) and their seeds."""
        channels = data.image_shape[0]
        keep = np.arange(len(data.train_y)) if keep is None else keep
        loss = _targets_only if data.is_regression else cross_entropy
        found = []
        for seed in map(self.stream, self.seeds):
            model = build(
                self.model, data.num_classes, channels, data.image_shape[1:], seed=seeds.integer(seed, "init")
            )
            found.append(Member(model, keep, seed, loss))
        return found

    def parts(self, data: Dataset, device: torch.device) -> list[ReferenceRuns]:
        """The same runs, divided into those that train side by side: all of them, or each alone."""
        if stackable(self.model, data, device):
            return [self]
        return [dataclasses.replace(self, seeds=(seed,)) for seed in self.seeds]


def stackable(name: str, data: Dataset, device: torch.device) -> bool:
    """Whether networks of this name gain by training side by side on this data and device."""
    return _stackable(name, data.num_classes, data.image_shape, device)


@functools.lru_cache(maxsize=128)
def _stackable(name: str, num_classes: int, image_shape: tuple[int, int, int], device: torch.device) -> bool:
    return worth_stacking(build(name, num_classes, image_shape[0], image_shape[1:]), device)


def _targets_only(student: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
    return squared_error(student, None, targets, alpha=0.0)


@dataclass(frozen=True)
class Workshop:
    """What trainings need besides their configuration: data, a store, a device and a place for checkpoints.

    checkpoint: (description, arrays gathered so far, entry that is made) -> where the state of a training in its middle
                is kept, or None; the entry is (kind, description)
    released:   description -> the arrays of a network that is shipped, or None (see `kdlib.experiments.teachers`)
    keep:       `ReferenceRuns.samples` -> the sorted ids that it describes
    """

    data: Dataset
    store: ArtefactStore
    device: str = "auto"
    checkpoint: Callable[[dict, list, tuple[str, dict]], Checkpoint | None] = lambda description, extra, entry: None
    released: Callable[[dict], Arrays | None] = lambda description: None
    keep: Callable[[str], np.ndarray] = lambda samples: _unknown(samples)

    @property
    def torch_device(self) -> torch.device:
        return resolve_device(self.device)

    def describe(self, runs: ReferenceRuns) -> dict:
        """`runs.describe` on this workshop's data and device."""
        return runs.describe(self.data, self.torch_device)

    def members(self, runs: ReferenceRuns) -> list[Member]:
        """`runs.members` with the samples that they are trained on."""
        return runs.members(self.data, self.keep(runs.samples) if runs.samples else None)


def _unknown(samples: str) -> np.ndarray:
    raise ValueError(f"nothing here knows the samples of {samples}; give the workshop `keep`")


# -- networks


def networks(runs: ReferenceRuns, shop: Workshop) -> Arrays:
    """The trained networks, each array with the runs as its first axis R.

    `w/NAME` (R, ...) weights; `test_acc` (R,) percent; `curve/loss` (R,E) nats, `curve/test_acc` (R,E) percent,
    `curve/rate` (R,E); `seconds`, `images` (R,): wall time and samples presented.
    """
    return _joined(runs, shop, _networks_part)


def _networks_part(part: ReferenceRuns, shop: Workshop) -> Arrays:
    """Weights that are shipped or stored; else a training, whose dynamics are stored along with it."""
    description = shop.describe(part)
    finished: list[Checkpoint] = []

    def make() -> Arrays:
        shipped = shop.released(description)
        if shipped is not None:
            return shipped
        made, recorded = _train(part, shop, finished)
        if recorded:
            shop.store.arrays("dynamics", with_early(part, shop), lambda: recorded)
        return made

    found = shop.store.arrays("networks", description, make)
    for checkpoint in finished:  # only now that all of it is stored
        checkpoint.clear()
    return found


def _dynamics_part(part: ReferenceRuns, shop: Workshop) -> Arrays:
    """What was recorded; a training that left no record (a shipped network, another early epoch) is repeated."""
    _networks_part(part, shop)
    finished: list[Checkpoint] = []
    found = shop.store.arrays("dynamics", with_early(part, shop), lambda: _train(part, shop, finished)[1])
    for checkpoint in finished:
        checkpoint.clear()
    return found


def with_early(part: ReferenceRuns, shop: Workshop) -> dict:
    """The description of what was recorded up to the early epoch, or at it."""
    return {**shop.describe(part), "early": part.early_epoch()}


def _joined(runs: ReferenceRuns, shop: Workshop, read: Callable[[ReferenceRuns, Workshop], Arrays]) -> Arrays:
    parts = [read(part, shop) for part in runs.parts(shop.data, shop.torch_device)]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _train(runs: ReferenceRuns, shop: Workshop, finished: list[Checkpoint]) -> tuple[Arrays, Arrays]:
    """Train the runs side by side: the arrays of `networks`, and of `dynamics` (none for regression).

    The checkpoint joins `finished`: it is cleared when the arrays are stored.
    """
    data, members = shop.data, shop.members(runs)
    early: list[np.ndarray] = []

    def at_epoch(epoch: int, loop: Loop) -> None:
        if epoch == runs.early_epoch() and not data.is_regression:
            loop.stack.unstack([m.model for m in members])
            early.extend(probabilities(m.model, data) for m in members)

    resume = shop.checkpoint(with_early(runs, shop), early, ("networks", shop.describe(runs)))
    options: dict[str, Any] = {"record": not data.is_regression, "on_epoch": at_epoch, "resume": resume}
    trained = train_batched(members, data, runs.recipe, device=shop.device, **options)
    refuse_divergence(trained, runs)
    finished += [resume] if resume else []
    return _network_arrays(trained), _dynamics_arrays(trained, early, data)


def refuse_divergence(trained: Iterable[Trained], runs: ReferenceRuns) -> None:
    """RuntimeError if a loss was not finite."""
    if any(t.diverged for t in trained):
        raise RuntimeError(
            f"training {runs.model} on labels diverged (loss is not finite); lower lr {runs.recipe.lr:g}"
            f"{' by teacher_recipe' if runs.role == 'teacher' else ' by score_recipe'}"
        )


def _network_arrays(trained: Sequence[Trained]) -> Arrays:
    states = [t.model.state_dict() for t in trained]
    found = {f"w/{name}": np.stack([s[name].cpu().numpy() for s in states]) for name in states[0]}
    found |= {f"curve/{name}": np.array([getattr(t, name) for t in trained]) for name in ("loss", "test_acc", "rate")}
    found["test_acc"] = np.array([t.test_acc[-1] for t in trained])
    found["seconds"] = np.array([t.seconds for t in trained])
    found["images"] = np.array([t.images for t in trained])
    return found


def _dynamics_arrays(trained: Sequence[Trained], early: list[np.ndarray], data: Dataset) -> Arrays:
    if data.is_regression:
        return {}
    recorded = {name: np.stack([t.signals[name] for t in trained]) for name in ("correct", "margin", "error")}
    return {**recorded, "early_probs": np.stack(early)}


def probabilities(model: nn.Module, data: Dataset) -> np.ndarray:
    """Softmax outputs float32 (N, K) of the clean training images."""
    return predict(model, data.train_x, data).softmax(1).cpu().numpy()


def load_model(runs: ReferenceRuns, shop: Workshop, row: int = 0) -> nn.Module:
    """The trained network of the run in `row`, frozen and in eval mode, on the device."""
    return model_of(runs.model, networks(runs, shop), shop.data, shop.torch_device, row)


def model_of(name: str, arrays: Arrays, data: Dataset, device: torch.device, row: int = 0) -> nn.Module:
    """The network `name` with the weights `w/NAME` (R, ...) of run `row`, frozen and in eval mode."""
    channels = data.image_shape[0]
    model = build(name, data.num_classes, channels, data.image_shape[1:])
    weights = {key[2:]: torch.from_numpy(np.array(v[row])) for key, v in arrays.items() if key.startswith("w/")}
    model.load_state_dict(weights)
    model.requires_grad_(False).eval()
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def dynamics(runs: ReferenceRuns, shop: Workshop) -> Arrays:
    """`correct` (R,E,N) bool, `margin` and `error` (R,E,N) at each presentation, `early_probs` (R,N,K)."""
    return _joined(runs, shop, _dynamics_part)


def outputs(runs: ReferenceRuns, shop: Workshop) -> Arrays:
    """`late_probs` (R,N,K) and `embedding` (R,N,D) of the trained networks on the clean training images."""

    def part_of(part: ReferenceRuns, shop: Workshop) -> Arrays:
        def make() -> Arrays:
            models = [load_model(part, shop, row) for row in range(len(part.seeds))]
            return {
                "late_probs": np.stack([probabilities(model, shop.data) for model in models]),
                "embedding": np.stack([embeddings(model, shop.data) for model in models]),
            }

        return shop.store.arrays("outputs", shop.describe(part), make)

    return _joined(runs, shop, part_of)
