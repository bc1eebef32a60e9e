"""The training loop over streamed images: global batches on any number of devices, checkpoints by step, exact sums."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kdlib.imagenet.config import Machine
from kdlib.imagenet.distributed import World
from kdlib.imagenet.evaluation import Accuracy, evaluate
from kdlib.imagenet.folders import Sample
from kdlib.imagenet.loading import StepBatches, pixels, readable
from kdlib.imagenet.progress import Progress
from kdlib.training.recipe import OPTIMISERS, Recipe, precision_used
from kdlib.utils import seeds
from kdlib.utils.devices import compiled
from kdlib.utils.progress import lasting

# student logits (B, K), teacher logits or None, labels (B,), nominal epoch -> nats (B,)
EpochLoss = Callable[[Tensor, "Tensor | None", Tensor, float], Tensor]


class Checkpoints(Protocol):
    """Where checkpoints are kept; `kdlib.store.artefacts.Store` is one."""

    def save_checkpoint(self, description: dict, arrays: dict[str, np.ndarray], state: dict) -> None: ...
    def load_checkpoint(self, description: dict) -> tuple[dict[str, np.ndarray], dict] | None: ...
    def clear_checkpoint(self, description: dict) -> None: ...


@dataclass
class State:
    """How far a training is, and what it has measured; equal on all processes after each epoch."""

    epoch: int = 0
    step: int = 0  # steps taken in this epoch
    steps: int = 0  # steps taken in all
    loss_sum: float = 0.0  # of this epoch, over all processes
    counted: float = 0.0  # readable images of this epoch, over all processes
    losses: list[float] = field(default_factory=list)  # mean of each finished epoch, nats
    top1: list[float | None] = field(default_factory=list)  # percent after each epoch, None where not evaluated
    top5: list[float | None] = field(default_factory=list)
    seconds: float = 0.0  # of training steps, loading included
    images: int = 0  # images trained on, repetitions included
    skipped: int = 0  # kept images that could not be read in the last epoch
    val_images: int = 0
    val_skipped: int = 0
    diverged: bool = False


@dataclass
class Trainer:
    """Trains `student` in place; every process has one, and `fit` runs on all of them together.

    loss:          of the logits, with the nominal epoch (warm-ups)
    steps:         the batch sampler behind `train`
    train, val:    loaders of this process's parts of the steps and of its shard of the validation images
    epochs:        passes over the kept images, as `recipe.plan` says
    seed:          of dropout
    checkpoints:   where the first process keeps the state, under `description`
    teacher:       frozen network, or None
    frozen_body:   batch statistics stay as they are and dropout is off (transfer: only the classifier has gradients)

    A step's gradient is that of the mean loss over its readable images, on whatever process they lie: each process
    weighs its sum by W / count, since DistributedDataParallel averages over the W processes.
    """

    student: nn.Module
    loss: EpochLoss
    steps: StepBatches
    train: Any
    val: Any
    recipe: Recipe
    epochs: int
    machine: Machine
    place: World
    seed: int
    checkpoints: Checkpoints
    description: dict
    teacher: nn.Module | None = None
    frozen_body: bool = False

    def __post_init__(self) -> None:
        place = self.place
        self.student = self.student.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.teacher is not None:
            self.teacher = frozen(self.teacher, place)
        self.bfloat16 = precision_used(self.recipe.precision, place.device) == "bfloat16"
        trained = [p for p in self.student.parameters() if p.requires_grad]
        self.optimiser = OPTIMISERS[self.recipe.optimiser](trained, self.recipe, self.recipe.lr)
        self.key = {**self.description, "state": [f.name for f in fields(State)]}  # another release's is not found
        self.state = State()
        self._resume()
        self.parallel: Any = self.student
        if place.size > 1:
            devices = [place.device] if place.device.type == "cuda" else None
            self.parallel = DistributedDataParallel(self.student, device_ids=devices, gradient_as_bucket_view=True)
        self.forward = compiled(self.parallel, place.device) if self.recipe.compile else self.parallel
        self.told: set[int] = set()  # unreadable images that were named

    # -- the loop

    def fit(self) -> State:
        """Train to the end (from the checkpoint on, if there is one) and return what was measured."""
        per_epoch = len(self.steps.slices)
        generators = [self.place.device] if self.place.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=generators),
            Progress(self.epochs, per_epoch, self.machine, self.place, self.state.steps) as progress,
        ):
            while self.state.epoch < self.epochs and not self.state.diverged:
                self._epoch(progress)
        return self.state

    def _epoch(self, progress: Progress) -> None:
        state, began = self.state, time.perf_counter()
        sums = torch.zeros(2, dtype=torch.float64, device=self.place.device)
        self.student.train(not self.frozen_body)
        self.steps.begin(state.epoch, state.step)
        parts = readable(self.train)
        per_epoch = len(self.steps.slices)
        for step in range(state.step, per_epoch):
            sums += self._step([next(parts) for _ in range(self.steps.parts(step))], step)
            state.step, state.steps = step + 1, state.steps + 1
            state.images += self.steps.slices[step].stop - self.steps.slices[step].start
            progress(state.epoch, state.step, state.images, sums, self.recipe.rate(self._share(step)))
            if state.step % self.machine.checkpoint_steps == 0 and state.step < per_epoch:
                sums, began = self._take_in(sums), self._clock(began)
                self._save()
        self._take_in(sums)
        self._clock(began)
        self._finish_epoch(progress)

    def _share(self, step: int) -> float:
        """The finished share of the whole training in the middle of a step."""
        return (self.state.epoch + (step + 0.5) / len(self.steps.slices)) / self.epochs

    def _step(self, parts: list[Sample], step: int) -> Tensor:
        """One step of the optimiser on this process's parts of a global batch; returns (sum of losses, images)."""
        share = self._share(step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(share)
        self._report_unreadable(parts)
        counted = torch.stack([part.weight.sum() for part in parts]).sum().to(self.place.device)  # type: ignore[attr-defined]
        everywhere = self.place.sum(counted.clone()).clamp_min(1)
        sums = torch.zeros(2, dtype=torch.float64, device=self.place.device)
        self.optimiser.zero_grad(set_to_none=True)
        for number, part in enumerate(parts):
            self._seed_dropout(step, number)
            with self._sync(last=number == len(parts) - 1):
                loss = self._loss_sum(part, share * self.recipe.epochs)
                (loss * (self.place.size / everywhere)).backward()
            sums[0] += loss.detach().double()
        self.optimiser.step()
        sums[1] += counted
        return sums

    def _loss_sum(self, part: Any, epoch: float) -> Tensor:
        """The sum of the losses of the readable images of a part, in nats."""
        x, labels = pixels(part, self.place), part.label.to(self.place.device, non_blocking=True)
        with torch.autocast(self.place.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            logits = self.forward(x)
            with torch.no_grad():
                soft = None if self.teacher is None else self.teacher(x).float()
        losses = self.loss(logits.float(), soft, labels, epoch)
        return (losses * part.weight.to(self.place.device, torch.float32)).sum()

    def _sync(self, last: bool) -> AbstractContextManager:
        """Gradients of a step's parts add up on each process and meet the others' in its last part."""
        return nullcontext() if last or self.place.size == 1 else self.parallel.no_sync()

    def _seed_dropout(self, step: int, part: int) -> None:
        """Dropout depends on seed, epoch, step, part and process only, so that there is no state of it to save."""
        torch.manual_seed(seeds.integer(self.seed, "augment", self.state.epoch, step, part, self.place.rank))

    def _report_unreadable(self, parts: list[Any]) -> None:
        for part in parts:
            for index, reason in zip(part.id.tolist(), part.reason, strict=True):
                if reason and index not in self.told:
                    self.told.add(index)
                    lasting(f"skipped {self.train.dataset.split.name(index)}: {reason}")

    # -- sums, accuracies, checkpoints

    def _take_in(self, sums: Tensor) -> Tensor:
        """Add the processes' sums to the state; returns the new, empty sums."""
        loss, count = self.place.sum(sums).tolist()
        self.state.loss_sum += loss
        self.state.counted += count
        return torch.zeros_like(sums)

    def _clock(self, began: float) -> float:
        now = time.perf_counter()
        self.state.seconds += now - began
        return now

    def _finish_epoch(self, progress: Progress) -> None:
        state = self.state
        mean = state.loss_sum / max(state.counted, 1)
        state.diverged = not np.isfinite(mean)
        state.skipped = len(self.steps.keep) - round(state.counted)
        last = state.epoch + 1 == self.epochs
        found: Accuracy | None = None
        if not state.diverged and (last or (state.epoch + 1) % self.machine.eval_every == 0):
            found = evaluate(self.student, self.val, self.place, bfloat16=self.bfloat16)
            state.val_images, state.val_skipped = found.images, found.skipped
        state.losses.append(mean)
        state.top1.append(found.top1 if found else None)
        state.top5.append(found.top5 if found else None)
        progress.epoch(state.epoch, mean, found)
        state.epoch, state.step, state.loss_sum, state.counted = state.epoch + 1, 0, 0.0, 0.0
        self._save()

    def _save(self) -> None:
        if not self.place.first or self.state.epoch == self.epochs:
            return
        arrays = {f"model/{name}": value.cpu().numpy() for name, value in self.student.state_dict().items()}
        for number, slots in self.optimiser.state_dict()["state"].items():
            arrays |= {f"optimiser/{number}/{name}": v.cpu().numpy() for name, v in slots.items() if v is not None}
        self.checkpoints.save_checkpoint(self.key, arrays, vars(self.state).copy())

    def _resume(self) -> None:
        """Take over the checkpoint that the first process finds, if it finds one."""
        found = self.place.share(self.checkpoints.load_checkpoint(self.key) if self.place.first else None)
        if found is None:
            return
        arrays, state = found
        self.state = State(**state)
        model = {name[6:]: torch.from_numpy(np.array(v)) for name, v in arrays.items() if name.startswith("model/")}
        self.student.load_state_dict(model)
        trained = self.optimiser.param_groups[0]["params"]
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in arrays.items():
            if name.startswith("optimiser/"):
                _, number, slot = name.split("/")
                slots.setdefault(int(number), {})[slot] = _laid_out_as(trained[int(number)], torch.from_numpy(value))
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": slots, "param_groups": groups})
        if self.place.first:
            lasting(f"going on from step {self.state.step} of epoch {self.state.epoch + 1}")


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` with the parameter's strides, which fused optimisers take for granted; a counter stays as it is."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.clone()


def frozen(model: nn.Module, place: World) -> nn.Module:
    """The network on the process's device, in eval mode, without gradients."""
    model.requires_grad_(False).eval()
    return model.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
