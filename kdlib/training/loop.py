"""The one training loop, for teachers, students and scored networks, for one run or for several of equal shape.

Images are uint8 tensors in memory, cut and flipped a batch at a time; there is no DataLoader. An epoch draws its order and
its views first, then asks the teacher for the logits of exactly those (sample, view) pairs (`logit_cache.py` remembers them),
and then takes its steps. Nothing waits for a number on the way: losses are summed on the device and read once an epoch.

To read it: `_train` goes through the epochs, `Loop.epoch` through the batches of one, `Loop.step` is one step of the
optimiser and `Loop.losses` what it minimises. Shapes: R runs side by side, n kept samples, B in a batch, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kdlib.data.augment import AUGMENTATIONS, apply_views, normalise
from kdlib.data.datasets import Dataset
from kdlib.selection.infobatch import InfoBatch
from kdlib.training.batched import Stack
from kdlib.training.cuda_graphs import GraphedStep
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.feature_term import FeatureTerm
from kdlib.training.recipe import OPTIMISERS, Recipe, precision_used
from kdlib.training.recorder import Recorder
from kdlib.utils import progress, seeds
from kdlib.utils.devices import compiled, fix_order_of_sums, keep_freed_memory, resolve_device

LogitLoss = Callable[[Tensor, "Tensor | None", Tensor], Tensor]  # (B,K), (B,K) or None, (B,) -> (B,)


class TeacherLogits(Protocol):
    """What training asks of a teacher: logits (..., K) of samples (...) under views (...)."""

    def __call__(self, ids: Tensor, view_ids: Tensor) -> Tensor: ...


@dataclass
class Member:
    """One of the runs that train side by side: its network, its kept samples (sorted ids (n,)), its seed and its loss.

    `augment_seed` (default: the run's seed) gives sample i in epoch e the same view in every run that shares it.
    `feature_term` (a module of the student's and the teacher's `Features`) is added to the loss and trained along.
    `sampler` draws each epoch's samples anew from `keep` and weighs their losses (InfoBatch). A run with either trains alone.
    """

    model: nn.Module
    keep: np.ndarray
    seed: int
    loss: LogitLoss
    augment_seed: int | None = None
    feature_term: FeatureTerm | None = None
    sampler: InfoBatch | None = None


@dataclass
class Trained:
    """A trained network, and per epoch: mean loss (nats), test accuracy (percent; NaN where not evaluated), last rate.

    `images`: samples presented; `used_share`: their share of epochs times kept samples, below 1 for a dynamic selection.
    `signals`: what was recorded on the way (see `Recorder`). `diverged`: a loss was not finite; training stopped there.
    """

    model: nn.Module
    loss: list[float] = field(default_factory=list)
    test_acc: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    steps: int = 0
    images: int = 0
    used_share: float = 1.0
    seconds: float = 0.0
    diverged: bool = False
    signals: dict[str, np.ndarray] = field(default_factory=dict)


class Loop:
    """Runs in training: networks stacked, optimiser, data on the device. `train_batched` drives it."""

    def __init__(self, members: Sequence[Member], data: Dataset, recipe: Recipe, device: torch.device) -> None:
        fix_order_of_sums()
        self.members, self.data, self.recipe, self.device = members, data, recipe, device
        self.augment = AUGMENTATIONS[recipe.augment]
        self.x, self.y = data.train_x.to(device), data.train_y.to(device)
        self.keep = torch.from_numpy(np.stack([m.keep for m in members])).to(device)  # (R, n)
        self.stack = Stack([m.model for m in members]).to(device).to(memory_format=torch.channels_last)
        self.term, self.sampler = members[0].feature_term, members[0].sampler
        forward: Any = self.stack if self.term is None else self.stack.network.features
        self.forward = compiled(forward, device) if recipe.compile else forward
        parameters = list(self.stack.parameters()) + (list(self.term.parameters()) if self.term else [])
        rate = torch.tensor(recipe.lr, device=device) if device.type == "cuda" else recipe.lr  # where graphs find it
        self.optimiser = OPTIMISERS[recipe.optimiser](parameters, recipe, rate)
        self.groups: list[tuple[LogitLoss, Tensor]] = []
        self.shown: progress.Epochs | None = None
        # Steps taken; samples presented to each member, in the training itself and in the feature loss's initial stage.
        self.steps = self.presented = self.initially_presented = 0
        self.epochs, _ = recipe.plan(self.keep.shape[1], len(self.y))
        low = precision_used(recipe.precision, device) == "bfloat16"
        self.autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)
        graphed = device.type == "cuda" and self.term is None and self.sampler is None
        self.take: Callable[..., tuple[Tensor, Tensor]] = GraphedStep(self.step) if graphed else self.step

    def draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        """This epoch's order: positions in each member's kept set, and view ids, both (R, n)."""
        kept, size = self.keep.shape[1], self.x.shape[-1]
        order = np.stack([seeds.stream(m.seed, "order", epoch).permutation(kept) for m in self.members])
        if self.sampler is not None:
            order = self.sampler.epoch_order()[None]
        views = []
        for m in self.members:  # drawn for all samples, so that a sample's view does not depend on who else was kept
            shared = m.seed if m.augment_seed is None else m.augment_seed
            views.append(self.augment.draw(seeds.stream(shared, "augment", epoch), size, len(self.y)))
        positions = torch.from_numpy(order).to(self.device)
        ids = self.keep.gather(1, positions)
        return positions, torch.from_numpy(np.stack(views)).to(self.device).gather(1, ids)

    def images(self, ids: Tensor, view_ids: Tensor) -> Tensor:
        """(R, B) ids and views -> normalised images (R, B, C, H, W)."""
        x = self.x[ids.flatten()]
        if self.augment.num_views(x.shape[-1]) > 1:
            x = apply_views(x, view_ids.flatten(), self.recipe.augment)
        return normalise(x, self.data.mean, self.data.std).unflatten(0, ids.shape)

    def losses(self, ids: Tensor, positions: Tensor, view_ids: Tensor, soft: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (R, B, K) and mean loss of each member (R,)."""
        x, labels = self.images(ids, view_ids), self.y[ids]
        with self.autocast:
            if self.term is not None:
                features = self.forward(x[0], self.term.preact).in_float32()
                logits = features.logits[None]
            else:
                logits = self.forward(x)
        logits = logits.float()
        loss = torch.empty(len(labels), device=self.device)
        for function, rows in self.groups:  # a loss sees single samples: members with the same one share a call of it
            flat = None if soft is None else soft[rows].flatten(0, 1)
            per_sample = function(logits[rows].flatten(0, 1), flat, labels[rows].flatten())
            if self.sampler is not None:
                per_sample = self._weighed(per_sample, positions[0])
            loss = loss.index_put((rows,), per_sample.unflatten(0, (len(rows), -1)).mean(1))
        if self.term is not None:
            loss = loss + self.term(x[0], features, labels[0], positions[0])
        return logits, loss

    def _weighed(self, per_sample: Tensor, positions: Tensor) -> Tensor:
        """The sampler hears the losses (B,) and says how much each counts."""
        assert self.sampler is not None
        where = positions.cpu().numpy()
        self.sampler.update(where, per_sample.detach().cpu().numpy())
        return per_sample * torch.as_tensor(self.sampler.weights[where], dtype=per_sample.dtype, device=self.device)

    def _group_losses(self, epoch: int) -> None:
        """Members by their loss: (loss, rows). A loss with `at_epoch` (a warm-up) is asked for its form."""
        found: dict[int, tuple[LogitLoss, list[int]]] = {}
        for row, member in enumerate(self.members):
            found.setdefault(id(member.loss), (member.loss, []))[1].append(row)
        nominal = (epoch + 1) * self.recipe.epochs / self.epochs  # a longer budget stretches warm-ups as well
        forms = [loss.at_epoch(nominal) if hasattr(loss, "at_epoch") else loss for loss, _ in found.values()]
        if forms == [loss for loss, _ in self.groups]:
            return
        places = [torch.tensor(rows, device=self.device) for _, rows in found.values()]
        self.groups = list(zip(forms, places, strict=True))
        if isinstance(self.take, GraphedStep):
            self.take.forget()

    def step(self, ids: Tensor, positions: Tensor, view_ids: Tensor, soft: Tensor | None) -> tuple[Tensor, Tensor]:
        """One step of SGD on a batch (R, B) of ids, positions and views: logits (R, B, K) and losses (R,) before it."""
        self.optimiser.zero_grad(set_to_none=True)
        logits, loss = self.losses(ids, positions, view_ids, soft)
        loss.sum().backward()
        self.optimiser.step()
        return logits.detach(), loss.detach()

    def epoch(self, epoch: int, teacher: TeacherLogits | None, record: Recorder | None) -> Tensor:
        """One pass over the kept samples; returns each member's mean loss (R,)."""
        positions, view_ids = self.draw(epoch)
        ids = self.keep.gather(1, positions)
        soft = None if teacher is None else teacher(ids, view_ids)
        total = torch.zeros(len(self.members), device=self.device)
        self.stack.train()
        self._group_losses(epoch)
        parts = self.recipe.batches(ids.shape[1])
        for step, part in enumerate(parts):
            self._set_rate((epoch + (step + 0.5) / len(parts)) / self.epochs)
            batch = None if soft is None else soft[:, part]
            logits, loss = self.take(ids[:, part], positions[:, part], view_ids[:, part], batch)
            total += loss * (part.stop - part.start)
            if self.shown is not None:
                self.shown.step(epoch, (step + 1) / len(parts))
            if record is not None:
                record(epoch, ids[:, part], logits, self.y[ids[:, part]])
        self.steps += len(parts)
        self.presented += ids.shape[1]
        return total / ids.shape[1]

    def initial_stage(self, first: int) -> None:
        """The feature loss's own stage, at a constant rate and with an optimiser of its own; skipped where `first` > 0.

        Its orders and views are those of epochs after the last one, so that the training's own stay as they are.
        """
        if self.term is None or not self.term.initial_epochs:
            return
        parameters = [*self.stack.parameters(), *self.term.parameters()]
        optimiser = OPTIMISERS[self.recipe.optimiser](parameters, self.recipe, self.recipe.lr)
        self.stack.train()
        for epoch in range(self.term.initial_epochs if first == 0 else 0):
            positions, view_ids = self.draw(self.epochs + epoch)
            ids = self.keep.gather(1, positions)
            for part in self.recipe.batches(ids.shape[1]):
                self._initial_step(optimiser, ids[:, part], positions[:, part], view_ids[:, part])
            self.initially_presented += ids.shape[1]
        self.term.module.main_stage()  # type: ignore[operator]

    def _initial_step(self, optimiser: torch.optim.Optimizer, ids: Tensor, positions: Tensor, view_ids: Tensor) -> None:
        assert self.term is not None
        optimiser.zero_grad(set_to_none=True)
        x = self.images(ids, view_ids)
        with self.autocast:
            features = self.forward(x[0], self.term.preact).in_float32()
        self.term.initial(x[0], features, self.y[ids[0]], positions[0]).backward()
        optimiser.step()
        self.steps += 1

    def _set_rate(self, progress: float) -> None:
        self.rate = self.recipe.rate(progress)
        group = self.optimiser.param_groups[0]
        group["lr"] = group["lr"].fill_(self.rate) if isinstance(group["lr"], Tensor) else self.rate


def train_batched(
    members: Sequence[Member],
    data: Dataset,
    recipe: Recipe,
    *,
    teacher: TeacherLogits | None = None,
    record: bool = False,
    device: str = "auto",
    stop_after: int | None = None,
    on_epoch: Callable[[int, Loop], None] | None = None,
    resume: Checkpoint | None = None,
) -> list[Trained]:
    """Train all members side by side; one `Trained` each, in their order, equal to what each would be alone.

    All members keep equally many samples. `stop_after`: leave after that many epochs of the schedule (early scores).
    `on_epoch(epoch, loop)` is called after each epoch (1-based). `resume` saves the state after epochs and goes on from it.
    """
    if len({len(m.keep) for m in members}) != 1:
        raise ValueError("runs that train side by side must keep equally many samples")
    where = resolve_device(device)
    keep_freed_memory()
    on_device = torch.cuda.device(where) if where.type == "cuda" else nullcontext()  # where CUDA graphs are recorded
    with on_device, progress.line() as line:
        return _train(members, data, recipe, where, teacher, record, stop_after, on_epoch, resume, line)


def _train(
    members: Sequence[Member],
    data: Dataset,
    recipe: Recipe,
    device: torch.device,
    teacher: TeacherLogits | None,
    record: bool,
    stop_after: int | None,
    on_epoch: Callable[[int, Loop], None] | None,
    resume: Checkpoint | None,
    line: progress.Line,
) -> list[Trained]:
    start = time.perf_counter()
    loop = Loop(members, data, recipe, device)
    recorder = Recorder(len(members), loop.epochs, len(loop.y), loop.device) if record else None
    history: list[list[list[float]]] = [[], [], []]  # losses, accuracies, rates: one list over members for each epoch
    first = resume.load(loop, recorder, history) if resume else 0
    loop.initial_stage(first)
    last = min(loop.epochs, stop_after or loop.epochs)
    loop.shown = progress.Epochs(line, first, last)
    for epoch in range(first, last):
        loss = loop.epoch(epoch, teacher, recorder)
        history[0].append(loss.tolist())
        history[1].append(_test_accuracy(loop, epoch))
        history[2].append([loop.rate] * len(members))
        loop.shown.epoch(float(loss.mean()))
        if on_epoch is not None:
            on_epoch(epoch + 1, loop)
        if not torch.isfinite(loss).any():
            break
        if resume:
            resume.save(loop, recorder, history)
    loop.stack.unstack([m.model for m in members])
    return _results(loop, history, recorder, time.perf_counter() - start)


class Checkpoint(Protocol):
    """Where a long run keeps its state (`checkpoint.StoredCheckpoint` keeps it in the store)."""

    def load(self, loop: Loop, recorder: Recorder | None, history: list) -> int: ...
    def save(self, loop: Loop, recorder: Recorder | None, history: list) -> None: ...
    def clear(self) -> None: ...


def _test_accuracy(loop: Loop, epoch: int) -> list[float]:
    last = epoch + 1 == loop.epochs
    if not last and (epoch + 1) % loop.recipe.eval_every:
        return [float("nan")] * len(loop.members)
    network: nn.Module = loop.stack if len(loop.members) > 1 else loop.stack.network
    logits = predict(network, loop.data.test_x, loop.data, members=len(loop.members))
    return accuracy(logits, loop.data.test_y).reshape(-1).tolist()


def _results(loop: Loop, history: list, recorder: Recorder | None, seconds: float) -> list[Trained]:
    results = []
    for i, member in enumerate(loop.members):
        losses, accuracies, rates = ([row[i] for row in column] for column in history)
        fields = recorder.FIELDS if recorder is not None else ()
        signals = {name: getattr(recorder, name)[i].cpu().numpy() for name in fields}
        measured: dict[str, Any] = {
            "steps": loop.steps,
            "images": loop.presented + loop.initially_presented,
            "used_share": loop.presented / (len(losses) * len(member.keep)) if losses else 1.0,
            "seconds": seconds / len(loop.members),
            "diverged": not all(np.isfinite(losses)),
        }
        results.append(Trained(member.model.eval(), losses, accuracies, rates, signals=signals, **measured))
    return results


def train(
    model: nn.Module,
    data: Dataset,
    keep: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    loss: LogitLoss,
    teacher: TeacherLogits | None = None,
    record: bool = False,
    device: str = "auto",
) -> Trained:
    """Train one network on the samples `keep` (sorted ids (n,)).

    `loss(student, teacher logits or None, labels) -> (B,)` nats; `teacher` gives logits of (sample, view) pairs.
    """
    member = Member(model, np.asarray(keep, dtype=np.int64), seed, loss)
    return train_batched([member], data, recipe, teacher=teacher, record=record, device=device)[0]
