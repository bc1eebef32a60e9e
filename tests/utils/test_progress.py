"""Progress: one line that is updated in place and gone in the end, plain lines in a log, nothing for quick work."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

import numpy as np
import pytest

from kdlib.data import datasets
from kdlib.losses import cross_entropy
from kdlib.models import build
from kdlib.training.loop import train
from kdlib.training.recipe import Recipe
from kdlib.utils import progress

WORK = """
from kdlib.utils import progress
progress.DELAY = progress.REFRESH = 0.0
with progress.line() as sweep:
    sweep.say("1 of 2 runs")
    with progress.line() as training:
        training.say("epoch 1/3")
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as the only entry of a list that a test may change."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_inner_work_stands_behind_outer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    said: list[str] = []
    with progress.shown_by(lambda text, milestone: said.append(text)), progress.line() as outer:
        outer.say("1 of 2 runs")
        with progress.line() as inner:
            inner.say("epoch 1/3")
        outer.say("2 of 2 runs")
    assert said == ["1 of 2 runs", "1 of 2 runs · epoch 1/3", "2 of 2 runs"]


def test_a_line_is_shown_twice_a_second_and_a_milestone_at_once(clock: list[float]) -> None:
    said: list[str] = []
    line = progress.Line(lambda text, milestone: said.append(text))
    for tenth in range(21):
        clock[0] = tenth / 10
        line.say(f"at {tenth / 10:g} s")
    line.say("a run is done", milestone=True)
    assert said == ["at 0.5 s", "at 1 s", "at 1.5 s", "at 2 s", "a run is done"]
    line.say("too soon"), line.detail("inside")
    assert said[-1] == "too soon · inside", "what was not shown alone stands before the inner text"


def test_a_log_is_throttled_and_gets_milestones_sooner(clock: list[float], capsys: pytest.CaptureFixture) -> None:
    log = progress.Log()
    for second in range(600):
        clock[0] = float(second)
        log.show(f"second {second}", milestone=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "second 5" and 10 < len(lines) < 25
    log.show("a run is done", milestone=True)
    log.show("the next one, at once", milestone=True)
    assert capsys.readouterr().err == "a run is done\n"


def test_a_terminal_shows_one_line_and_removes_it() -> None:
    parent, child = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "KDLIB_PROGRESS"}
    done = subprocess.run([sys.executable, "-c", WORK], stderr=child, env=environment, timeout=60)
    os.close(child)
    shown = os.read(parent, 4096).decode()
    assert done.returncode == 0 and "\n" not in shown
    assert [part for part in shown.split("\r\x1b[K") if part] == ["1 of 2 runs", "1 of 2 runs · epoch 1/3"]
    assert shown.endswith("\r\x1b[K"), "the line is gone in the end"


def test_a_kernel_updates_one_output_and_leaves_it_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython
    import IPython.display

    shown: list[str] = []

    class Handle:
        def update(self, data: dict, raw: bool) -> None:
            shown.append(data["text/plain"])

    def display(data: dict, raw: bool, display_id: bool) -> Handle:
        shown.append(data["text/plain"])
        return Handle()

    class Shell:
        kernel = object()

    monkeypatch.delenv("KDLIB_PROGRESS", raising=False)
    monkeypatch.setattr(IPython, "get_ipython", Shell)
    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    with progress.line() as line:
        line.say("1 of 2 runs")
        line.say("2 of 2 runs")
    assert shown == ["1 of 2 runs", "2 of 2 runs", ""]


@pytest.mark.parametrize(("word", "kind"), [("off", progress.Silent), ("lines", progress.Log)])
def test_the_environment_decides(word: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLIB_PROGRESS", word)
    assert isinstance(progress.make_sink(), kind)


def test_a_training_says_its_epoch_loss_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    data, said = datasets.load("digits"), []
    network = build("mlp", 10, 1, 8, seed=0)
    with progress.shown_by(lambda text, milestone: said.append(text)):
        train(network, data, np.arange(128), Recipe(epochs=2), seed=0, loss=cross_entropy, device="cpu")
    assert said[0].startswith("epoch 1/2 (50%), 0:00:0") and said[-1].startswith("epoch 2/2 (100%), loss ")


def test_time_left_is_from_this_process(clock: list[float]) -> None:
    said: list[str] = []
    shown = progress.Epochs(progress.Line(lambda text, milestone: said.append(text)), first=10, total=20)
    clock[0] = 50.0
    shown.step(14, 1.0)
    assert said == ["epoch 15/20 (100%), 0:00:50 left"], "five epochs took 50 s; the ten before were another process's"


def test_other_threads_have_no_line() -> None:
    found: list[object] = []
    with progress.line():
        thread = threading.Thread(target=lambda: found.append(progress._innermost.get()))
        thread.start()
        thread.join()
    assert found == [None]
