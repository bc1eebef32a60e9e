"""What the person at the screen sees of a training: the line of progress with the time left, and TensorBoard's scalars."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

from torch import Tensor

from kdlib.imagenet.config import Machine
from kdlib.imagenet.distributed import World
from kdlib.imagenet.evaluation import Accuracy
from kdlib.utils import progress
from kdlib.utils.progress import clock, scalar_writer

SCALARS = 5.0  # seconds between two scalars


class Progress:
    """The line and the scalars of the first process; the others' do nothing. A context manager that ends both."""

    def __init__(self, epochs: int, per_epoch: int, machine: Machine, place: World, done: int) -> None:
        self.epochs, self.per_epoch, self.place, self.seconds = epochs, per_epoch, place, machine.log_seconds
        self.every = SCALARS if self.seconds is None else self.seconds
        self.writer = scalar_writer(machine.tensorboard) if machine.tensorboard and place.first else None
        self.began = self.told = time.monotonic()
        self.done = done  # steps taken before this process began
        self.images: int | None = None
        self.open = ExitStack()

    def __enter__(self) -> Progress:
        if self.writer is not None:
            self.open.callback(self.writer.close)
        self.line = self.open.enter_context(_line(self.seconds, self.place))
        self.line.say("the first step")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        self.open.close()

    def __call__(self, epoch: int, step: int, images: int, sums: Tensor, rate: float) -> None:
        """After a step: `images` trained on in all, `sums` (losses, images) of this process since the last sum."""
        now = time.monotonic()
        if self.images is None:
            self.images, self.began = images, now  # from the end of the first step, which warms up
            self.done += 1
            return
        due = now - self.told >= self.every
        if not self.place.first or not (due or self.line.due()):
            return
        taken = epoch * self.per_epoch + step
        left = (now - self.began) / max(taken - self.done, 1) * (self.epochs * self.per_epoch - taken)
        loss = float(sums[0] / sums[1].clamp_min(1))
        speed = (images - self.images) / (now - self.began)
        self.line.say(
            f"epoch {epoch + 1}/{self.epochs} step {step}/{self.per_epoch} loss {loss:.3f} rate {rate:.2g} "
            f"{speed:.0f} images/s, {clock(left)} left",
            milestone=due and self.seconds is not None,
        )
        if due:
            self.told = now
            self._write(taken, {"train/loss": loss, "train/rate": rate, "train/images_per_second": speed})

    def epoch(self, epoch: int, loss: float, found: Accuracy | None) -> None:
        """After an epoch: its mean loss over all processes and, if there was one, the accuracy; this is printed."""
        if not self.place.first:
            return
        accuracy = f" top-1 {found.top1:.2f}% top-5 {found.top5:.2f}%" if found else ""
        progress.lasting(f"epoch {epoch + 1}/{self.epochs} loss {loss:.4f}{accuracy}")
        values = {"epoch/loss": loss, **({"val/top1": found.top1, "val/top5": found.top5} if found else {})}
        self._write((epoch + 1) * self.per_epoch, values)

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)


def _line(seconds: float | None, place: World) -> AbstractContextManager[progress.Line]:
    """The first process's line of progress, or with `seconds` plain lines, for a program that reads along; else silence."""
    if not place.first:
        return progress.shown_by(lambda text, milestone: None)
    return progress.line() if seconds is None else progress.shown_by(_plain)


def _plain(text: str, milestone: bool) -> None:
    if milestone:
        print(text, file=sys.stderr, flush=True)
