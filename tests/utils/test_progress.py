"""Progress: one line that is updated in place and gone in the end, plain lines in a log, nothing for quick work."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest

from kdlib.data import datasets
from kdlib.experiments.grid import sweep_of
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


SILENT = """
import time
from kdlib.utils import progress
progress.DELAY = progress.BEAT = progress.REFRESH = 0.1
progress.STILL = 0.3
with progress.working("silent work"):
    time.sleep(1.5)
"""


def test_a_real_kernel_shows_silent_work_in_one_output_of_its_cell() -> None:
    """As JupyterLab receives it: shown once, updated in place, and empty in the end."""
    from jupyter_client.manager import start_new_kernel

    environment = {name: value for name, value in os.environ.items() if name != "KDLIB_PROGRESS"}
    root = str(Path(progress.__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    manager, client = start_new_kernel(startup_timeout=300, env=environment)
    try:
        asked, shown = client.execute(SILENT), []
        while (message := client.get_iopub_msg(timeout=300))["content"].get("execution_state") != "idle":
            if message["msg_type"] in ("display_data", "update_display_data", "stream", "error"):
                assert message["parent_header"]["msg_id"] == asked, message
                shown.append((message["msg_type"], message["content"].get("data", {}).get("text/plain")))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert shown[0] == ("display_data", "silent work") and shown[-1] == ("update_display_data", "")
    assert {kind for kind, _ in shown[1:]} == {"update_display_data"} and len(shown) > 2


NOTEBOOK = """
from kdlib.utils import progress
progress.FIRST = progress.REFRESH = 0.0
with progress.line() as line:
    for i in range(3):
        line.say(f"{i} of 3 runs")
print("done")
"""


def test_papermill_gets_plain_lines_and_saves_none(tmp_path: Path) -> None:
    """In its own log, as its user sees it; JupyterLab and the lessons' runner have ways of their own."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    other = ("KDLIB_PROGRESS", "PYTEST_CURRENT_TEST")  # the latter makes ipykernel leave its streams alone
    environment = {name: value for name, value in os.environ.items() if name not in other}
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "in.ipynb", "out.ipynb"]
    root = str(Path(progress.__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert "0 of 3 runs\n" in done.stderr, done.stderr
    [cell] = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert [output.text for output in cell.outputs] == ["done\n"]


@pytest.mark.parametrize(("word", "kind"), [("relay", progress.Log), ("off", progress.Silent), ("lines", progress.Log)])
def test_the_environment_decides(word: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLIB_PROGRESS", word)
    assert isinstance(progress.make_sink(), kind)


def test_a_training_says_its_epoch_loss_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    data, said = datasets.load("digits"), []
    network = build("mlp", 10, 1, 8, seed=0)
    with progress.shown_by(lambda text, milestone: said.append(text)):
        train(network, data, np.arange(128), Recipe(epochs=2), seed=0, loss=cross_entropy, device="cpu")
    assert said[0].startswith("epoch 1/2 (50%)") and said[-1].startswith("epoch 2/2 (100%), loss ")


def test_time_left_is_from_this_process(clock: list[float]) -> None:
    said: list[str] = []
    shown = progress.Epochs(progress.Line(lambda text, milestone: said.append(text)), first=10, total=20)
    clock[0] = 0.9
    assert shown.left.after(10.01) == "", "the first second says nothing of the hours to come"
    clock[0] = 50.0
    shown.step(14, 1.0)
    assert said == ["epoch 15/20 (100%), 0:00:50 left"], "five epochs took 50 s; the ten before were another process's"


def test_silent_work_is_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once, at the start: it is shown without another word, re-worded, and with how long it has been true."""
    monkeypatch.setattr(progress, "BEAT", 0.01)
    monkeypatch.setattr(progress, "STILL", 0.1)
    said: list[str] = []
    count = iter(range(10**9))
    with progress.shown_by(lambda text, milestone: said.append(text)):
        with progress.working(lambda: f"{min(next(count), 3)} MB"):
            _until(lambda: len(said) > 20 and "for" in said[-1])
        with progress.working("something else"):
            _until(lambda: said[-1].startswith("something else"))
    assert said[:4] == ["0 MB", "1 MB", "2 MB", "3 MB"] and "3 MB, for 0:00:00 now" in said
    seen = len(said)
    time.sleep(0.05)
    assert len(said) == seen, "and no longer than the work lasts"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_silent_work_in_a_worker_process_reaches_its_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    with progress.shown_by(lambda text, milestone: said.append(text)):
        sweep_of("tests.tiny_experiment", {"seed": [0, 1]}, 2, None, tmp_path, True, {"pause": 2.5})
    assert any("silent work" in text for text in said), said


def test_other_threads_have_no_line() -> None:
    found: list[object] = []
    with progress.line():
        thread = threading.Thread(target=lambda: found.append(progress._innermost.get()))
        thread.start()
        thread.join()
    assert found == [None]


def test_a_slow_start_says_nothing_of_the_time_left(clock: list[float]) -> None:
    left = progress.TimeLeft(60_000)
    clock[0] = 8.0
    assert left.after(1) == "", "one image after eight seconds of starting processes would make five days"
    assert left.after(600) == ", 0:13:12 left"
