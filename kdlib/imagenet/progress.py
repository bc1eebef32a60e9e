"""What the person at the screen sees: a line every few seconds with the time left; the same as TensorBoard's scalars."""

from __future__ import annotations

import time
from types import TracebackType

from torch import Tensor

from kdlib.imagenet.config import Machine
from kdlib.imagenet.distributed import World
from kdlib.imagenet.evaluation import Accuracy
from kdlib.utils.progress import clock, scalar_writer


class Progress:
    """Lines and scalars of the first process; the others' do nothing. A context manager that closes the writer."""

    def __init__(self, epochs: int, per_epoch: int, machine: Machine, place: World, done: int) -> None:
        self.epochs, self.per_epoch, self.every, self.place = epochs, per_epoch, machine.log_seconds, place
        self.writer = scalar_writer(machine.tensorboard) if machine.tensorboard and place.first else None
        self.began = self.told = time.monotonic()
        self.done = done  # steps taken before this process began
        self.images: int | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def __call__(self, epoch: int, step: int, images: int, sums: Tensor, rate: float) -> None:
        """After a step: `images` trained on in all, `sums` (losses, images) of this process since the last sum."""
        if self.images is None:
            self.images, self.began = images, time.monotonic()  # from the end of the first step, which warms up
            self.done += 1
            return
        now = time.monotonic()
        if not self.place.first or now - self.told < self.every:
            return
        self.told = now
        taken = epoch * self.per_epoch + step
        left = (now - self.began) / max(taken - self.done, 1) * (self.epochs * self.per_epoch - taken)
        loss = float(sums[0] / sums[1].clamp_min(1))
        speed = (images - self.images) / (now - self.began)
        print(
            f"epoch {epoch + 1}/{self.epochs} step {step}/{self.per_epoch} loss {loss:.3f} rate {rate:.2g} "
            f"{speed:.0f} images/s, {clock(left)} left",
            flush=True,
        )
        self._write(taken, {"train/loss": loss, "train/rate": rate, "train/images_per_second": speed})

    def epoch(self, epoch: int, loss: float, found: Accuracy | None) -> None:
        """After an epoch: its mean loss over all processes and, if there was one, the accuracy."""
        if not self.place.first:
            return
        accuracy = f" top-1 {found.top1:.2f}% top-5 {found.top5:.2f}%" if found else ""
        print(f"epoch {epoch + 1}/{self.epochs} loss {loss:.4f}{accuracy}", flush=True)
        values = {"epoch/loss": loss, **({"val/top1": found.top1, "val/top5": found.top5} if found else {})}
        self._write((epoch + 1) * self.per_epoch, values)

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)
