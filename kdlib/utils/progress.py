"""What long work says while it lasts: one line that is updated in place, or plain lines where nothing can be updated.

    with progress.line() as line:
        for done, epoch in enumerate(epochs, 1):
            ...
            line.say(f"epoch {done}/{total}")

Lines nest: the text of an inner one stands behind that of the outer, so that a sweep and the training inside it share one
line. A terminal and a notebook show the line after two seconds and remove it in the end; a log (any other stderr, and
everything where `KDLIB_PROGRESS=lines` is set) gets a plain line now and then, more seldom the longer the work lasts;
`KDLIB_PROGRESS=off` shows nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

DELAY = 2.0  # seconds before a line is shown: what is done sooner stays silent
REFRESH = 0.5  # seconds between two updates of a line in place
FIRST, GROWTH, SELDOM = 5.0, 1.5, 60.0  # a log: seconds to its first line, growth of the pause, longest pause

Show = Callable[[str, bool], None]  # a text, and whether it is a milestone

_innermost: ContextVar[Line | None] = ContextVar("kdlib_progress", default=None)


class Line:
    """The text of one piece of work; what is inside it adds its own behind. It is shown at most twice a second."""

    def __init__(self, show: Show) -> None:
        self.show, self.text, self.shown = show, "", time.monotonic()

    def due(self) -> bool:
        """Whether the next text would be shown: short work need not even word it."""
        return time.monotonic() - self.shown >= REFRESH

    def say(self, text: str, milestone: bool = False) -> None:
        """This work's own text; a milestone, such as a finished run, is shown at once, and sooner in a log."""
        self.text = text
        if milestone or self.due():
            self.shown = time.monotonic()
            self.show(text, milestone)

    def detail(self, text: str, milestone: bool = False) -> None:
        """The text of the work inside, whose milestones are none of this work's."""
        self.show(" · ".join(part for part in (self.text, text) if part), False)


@contextmanager
def line() -> Iterator[Line]:
    """A line for the work in the block: inside that of other work, or one of its own."""
    outer = _innermost.get()
    sink = None if outer else make_sink()
    found = Line(outer.detail if outer else sink.show)  # type: ignore[union-attr]
    token = _innermost.set(found)
    try:
        yield found
    finally:
        _innermost.reset(token)
        if sink is not None:
            sink.close()


def detail(text: str) -> None:
    """The text of work that goes on elsewhere, such as in worker processes, behind the innermost line."""
    if (innermost := _innermost.get()) is not None:
        innermost.detail(text)


@contextmanager
def shown_by(show: Show) -> Iterator[Line]:
    """In the block all lines go to `show`, such as from a worker process to its parent, or nowhere."""
    found = Line(show)
    token = _innermost.set(found)
    try:
        yield found
    finally:
        _innermost.reset(token)


class Epochs:
    """The state of a training in words: epoch, loss (nats) and time left, from what this process has trained."""

    def __init__(self, line: Line, first: int, total: int) -> None:
        self.line, self.first, self.total, self.loss = line, first, total, ""
        self.began = time.monotonic()

    def step(self, epoch: int, share: float) -> None:
        """In epoch number `epoch` (from 0) a `share` of the steps is done."""
        if self.line.due():
            done = epoch + share
            left = (time.monotonic() - self.began) / (done - self.first) * (self.total - done)
            self.line.say(f"epoch {epoch + 1}/{self.total} ({share:.0%}){self.loss}, {clock(left)} left")

    def epoch(self, loss: float) -> None:
        """An epoch has ended with this mean loss."""
        self.loss = f", loss {loss:.3g}"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def scalar_writer(folder: str) -> Any:
    """A TensorBoard writer; ValueError that names the extra if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise ValueError("tensorboard is not installed; get it with: pip install 'kdlib[tensorboard]'") from problem
    return SummaryWriter(folder)


# -- where lines go


class Silent:
    """Nowhere."""

    def show(self, text: str, milestone: bool) -> None:
        pass

    def close(self) -> None:
        pass


class Log:
    """Plain lines on stderr, the first after `FIRST` seconds, then more and more seldom; milestones every `DELAY`."""

    def __init__(self) -> None:
        self.due, self.pause = time.monotonic() + FIRST, FIRST
        self.milestone = 0.0  # when the next one may be shown

    def show(self, text: str, milestone: bool) -> None:
        now = time.monotonic()
        if milestone and now >= self.milestone:
            self.milestone, self.due = now + DELAY, now
        if now >= self.due:
            print(text, file=sys.stderr, flush=True)
            self.pause = min(self.pause * GROWTH, SELDOM)
            self.due = now + self.pause

    def close(self) -> None:
        pass


class InPlace:
    """A line that is updated where it stands, at most every `REFRESH` seconds, and empty in the end."""

    def __init__(self) -> None:
        self.due, self.visible = time.monotonic() + DELAY, False

    def show(self, text: str, milestone: bool) -> None:
        if time.monotonic() >= self.due:
            self.due, self.visible = time.monotonic() + REFRESH, True
            self.write(text)

    def close(self) -> None:
        if self.visible:
            self.write("")

    def write(self, text: str) -> None:
        raise NotImplementedError


class Terminal(InPlace):
    """A line of a terminal."""

    def write(self, text: str) -> None:
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        sys.stderr.write("\r\x1b[K" + text[: width - 1])
        sys.stderr.flush()


class Kernel(InPlace):
    """An output of a notebook's cell."""

    handle: Any = None

    def write(self, text: str) -> None:
        from IPython.display import display  # there is a kernel, so it is loaded

        if self.handle is None:
            self.handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self.handle.update({"text/plain": text}, raw=True)


def make_sink() -> Any:
    """Where this process shows its lines."""
    wanted = os.environ.get("KDLIB_PROGRESS", "")
    if wanted == "off":
        return Silent()
    if wanted == "lines":
        return Log()
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        return Kernel()
    return Terminal() if sys.stderr is not None and sys.stderr.isatty() else Log()
