"""What long work says while it lasts: one line that is updated in place, or plain lines where nothing can be updated.

    with progress.line() as line:
        for done, epoch in enumerate(epochs, 1):
            ...
            line.say(f"epoch {done}/{total}")

Lines nest: the text of an inner one stands behind that of the outer, so that a sweep and the training inside it share one
line. A terminal and a notebook show the line after two seconds and remove it in the end; a log (any other stderr, and
everything where `KDLIB_PROGRESS=lines` is set) gets a plain line now and then, more seldom the longer the work lasts;
`KDLIB_PROGRESS=off` shows nothing. A text may be a function that words it when it is shown, such as a time left; work
that says nothing for long is shown all the same, with how long it has been at it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

DELAY = 2.0  # seconds before a line is shown: what is done sooner stays silent
REFRESH = 0.5  # seconds between two updates of a line in place
BEAT = 1.0  # seconds after which a line is shown again, with what has changed by itself
START = 1.0  # seconds before a time left is said
LEAST = 0.001  # share of the work that must be done before: processes may take long to start
STILL = 5.0  # seconds after which an unchanged text says for how long it has been true
ERASED = "\r\x1b[K"  # to a terminal: the line is empty
FIRST, GROWTH, SELDOM = 5.0, 1.5, 60.0  # a log: seconds to its first line, growth of the pause, longest pause

Show = Callable[[str, bool], None]  # a text, and whether it is a milestone
Words = str | Callable[[], str]

_innermost: ContextVar[Line | None] = ContextVar("kdlib_progress", default=None)


class Line:
    """The text of one piece of work; what is inside it adds its own behind. It is shown at most twice a second."""

    def __init__(self, show: Show, outer: Line | None = None) -> None:
        self.outermost: Line = outer.outermost if outer else self
        self.inner: Line | None = None
        self.text: Words = ""
        self.rest: Words = ""  # of work that goes on elsewhere
        self.send, self.shown = show, time.monotonic()
        self.sent, self.since, self.lock = "", self.shown, threading.Lock()

    def due(self) -> bool:
        """Whether the next text would be shown: short work need not even word it."""
        return time.monotonic() - self.shown >= REFRESH

    def say(self, text: Words, milestone: bool = False) -> None:
        """This work's own text; the outermost work's milestones, such as a finished run, are shown at once."""
        self.text = text
        if milestone or self.due():
            self.shown = time.monotonic()
            self.outermost.show(milestone and self.outermost is self)

    def detail(self, text: Words) -> None:
        """The text of work that goes on elsewhere, behind this work's own."""
        self.rest = text
        self.outermost.show()

    def words(self) -> str:
        """The texts of this work and of all inside it."""
        parts = [text() if callable(text) else text for text in (self.text, self.rest)]
        return " · ".join(part for part in (*parts, self.inner.words() if self.inner else "") if part)

    def show(self, milestone: bool = False) -> None:
        """Word all texts, and send them to where lines go."""
        with self.lock:
            text = self.words()
            if text != self.sent:
                self.sent, self.since = text, time.monotonic()
            still = time.monotonic() - self.since
            if text:
                self.send(text if still < STILL else f"{text}, for {clock(still)} now", milestone)


@contextmanager
def line() -> Iterator[Line]:
    """A line for the work in the block: inside that of other work, or one of its own."""
    outer = _innermost.get()
    if outer is None:
        sink = make_sink()
        try:
            with shown_by(sink.show) as found:
                yield found
        finally:
            sink.close()
        return
    found = Line(outer.send, outer)
    token, outer.inner = _innermost.set(found), found
    try:
        yield found
    finally:
        outer.inner = None
        _innermost.reset(token)


@contextmanager
def working(text: Words) -> Iterator[None]:
    """The block is one piece of work, of which there is no more to say than this."""
    with line() as found:
        found.say(text)
        yield


def detail(text: Words) -> None:
    """The text of work that goes on elsewhere, such as in worker processes, behind the innermost line."""
    if (innermost := _innermost.get()) is not None:
        innermost.detail(text)


def lasting(text: str) -> None:
    """A line on stdout that stays, such as an epoch's accuracy; a terminal's line of progress makes room for it."""
    innermost = _innermost.get()
    with innermost.outermost.lock if innermost else nullcontext():
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write(ERASED)
            sys.stderr.flush()
        print(text, flush=True)


@contextmanager
def shown_by(show: Show) -> Iterator[Line]:
    """In the block all lines go to `show`, such as from a worker process to its parent, or nowhere."""
    found, over = Line(show), threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with suppress(OSError, ValueError):  # nobody listens any more
                found.show()

    token = _innermost.set(found)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        _innermost.reset(token)
        over.set()
        thread.join()


class TimeLeft:
    """The time left, in words, of work in equal parts."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done, self.began = total, done, time.monotonic()

    def after(self, done: float) -> str:
        """So many parts are done; empty at first, when the time passed says more of the start than of the work."""
        passed = time.monotonic() - self.began
        if done - self.done < LEAST * self.total or done <= self.done or passed < START:
            return ""
        return f", {clock(passed / (done - self.done) * (self.total - done))} left"


class Epochs:
    """The state of a training in words: epoch, loss (nats) and time left, from what this process has trained."""

    def __init__(self, line: Line, first: int, total: int) -> None:
        self.line, self.total, self.loss = line, total, ""
        self.left = TimeLeft(total, first)

    def step(self, epoch: int, share: float) -> None:
        """In epoch number `epoch` (from 0) a `share` of the steps is done."""
        if self.line.due():
            left = self.left.after(epoch + share)
            self.line.say(f"epoch {epoch + 1}/{self.total} ({share:.0%}){self.loss}{left}")

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
    """Plain lines, the first after `first` (FIRST) seconds, then more and more seldom; milestones every `DELAY`."""

    def __init__(self, out: TextIO | None = None, first: float = 0.0, growth: float = 0.0) -> None:
        self.out = out or sys.stderr
        self.pause, self.growth = first or FIRST, growth or GROWTH
        self.due = time.monotonic() + self.pause
        self.milestone = 0.0  # when the next one may be shown

    def show(self, text: str, milestone: bool) -> None:
        now = time.monotonic()
        if milestone and now >= self.milestone:
            self.milestone, self.due = now + DELAY, now
        if now >= self.due:
            print(text, file=self.out, flush=True)
            self.pause = min(self.pause * self.growth, SELDOM)
            self.due = now + self.pause

    def close(self) -> None:
        pass


class InPlace:
    """A line that is updated where it stands, at most every `REFRESH` seconds, and empty in the end."""

    def __init__(self) -> None:
        self.due, self.text = time.monotonic() + DELAY, ""

    def show(self, text: str, milestone: bool) -> None:
        if text != self.text and time.monotonic() >= self.due:
            self.due, self.text = time.monotonic() + REFRESH, text
            self.write(text)

    def close(self) -> None:
        if self.text:
            self.write("")

    def write(self, text: str) -> None:
        raise NotImplementedError


class Terminal(InPlace):
    """A line of a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.out = sys.stderr

    def write(self, text: str) -> None:
        width = os.get_terminal_size(self.out.fileno()).columns or 80
        self.out.write(ERASED + text[: width - 1])
        self.out.flush()


class Kernel(InPlace):
    """An output of a notebook's cell.

    In the end it is empty and takes no room, but a notebook that is saved by hand keeps it: Jupyter's messages can change an
    output or clear a cell of all that it has printed, and take no single output away. `course.notebooks.clean` does.
    """

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
    if wanted in MODES:
        return MODES[wanted]()
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        log = papermill_log()
        return Log(log) if log else Kernel()
    return Terminal() if sys.stderr is not None and sys.stderr.isatty() else Log()


# $KDLIB_PROGRESS -> where lines go; relay: to a program that reads along, such as the one that runs the lessons
MODES: dict[str, Callable[[], Any]] = {"off": Silent, "lines": Log, "relay": lambda: Log(first=DELAY, growth=1.0)}


def papermill_log() -> TextIO | None:
    """The error stream of a papermill that runs this kernel: what the kernel's own stream gets would be saved."""
    import psutil  # of the lessons alone; most commands do not need it

    started = [Path(word).name for word in psutil.Process(os.getppid()).cmdline()[:3]]
    stream = getattr(sys.stderr, "_original_stdstream_copy", None)  # ipykernel's, before it took the stream over
    return open(stream, "w", closefd=False) if "papermill" in started and stream is not None else None
