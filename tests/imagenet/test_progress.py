"""What a training of images says while it lasts: the line of progress as everywhere, plain lines for a program, scalars."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from kdlib.__main__ import main
from kdlib.imagenet.config import Machine
from kdlib.imagenet.distributed import World
from kdlib.imagenet.progress import Progress, scalar_writer
from kdlib.store.artefacts import Store
from kdlib.utils import progress
from tests.imagenet.folder import UNREADABLE, VAL
from tests.imagenet.jobs import ALONE
from tests.imagenet.test_commands import train_args

ROOT = Path(__file__).parents[2]
STATE = r"epoch 1/2 step 2/4 loss 2\.000 rate 0\.1 \d+ images/s, 0:00:00 left"


def three_steps(machine: Machine, place: World = ALONE) -> None:
    with Progress(2, 4, machine, place, 0) as shown:
        for step in range(1, 4):
            shown(0, step, 16 * step, torch.tensor([8.0, 4.0]), 0.1)


def test_the_line_has_the_loss_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    said: list[str] = []
    with progress.shown_by(lambda text, milestone: said.append(text)):
        three_steps(Machine())
        three_steps(Machine(), World(1, 2, 1, 2, torch.device("cpu")))
    assert said[0] == "the first step" and re.fullmatch(STATE, said[1]) and len(said) == 3, (
        "and of the first process alone"
    )
    assert "".join(capsys.readouterr()) == ""


def test_a_program_that_reads_along_gets_plain_lines(capsys: pytest.CaptureFixture) -> None:
    three_steps(Machine(log_seconds=0))
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 2 and re.fullmatch(STATE, err.splitlines()[0])
    three_steps(Machine(log_seconds=1e9))
    assert "".join(capsys.readouterr()) == ""


def test_a_training_prints_what_stays(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """On stdout: an epoch's accuracy, images that were skipped, the row; no state of a step."""
    assert main(train_args(root, tmp_path / "store", "--loss", "cross_entropy", "--json")) == 0
    out, err = capsys.readouterr()
    *lines, row = out.splitlines()
    assert json.loads(row)["epochs"] == 2 and err == ""
    assert sorted(line.split()[0] for line in lines) == ["epoch"] * 2 + ["skipped"] * len(UNREADABLE)
    assert all(re.fullmatch(r"epoch [12]/2 loss [\d.]+ top-1 [\d.]+% top-5 [\d.]+%|skipped .*", line) for line in lines)


def test_evaluating_stands_behind_the_step(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    said: list[str] = []
    with progress.shown_by(lambda text, milestone: said.append(text)):
        assert main(train_args(root, tmp_path / "store", "--loss", "cross_entropy")) == 0
    assert any(
        re.fullmatch(rf"epoch 1/2 step 10/10 .* left · evaluating: {VAL} of {VAL} images", text) for text in said
    )


COMMAND = """
import sys
import tests.imagenet.jobs
from kdlib.__main__ import main
from kdlib.utils import progress
progress.DELAY = progress.REFRESH = 0.0
sys.exit(main(sys.argv[1:]))
"""


def test_a_terminal_shows_one_line_that_makes_room(root: Path, tmp_path: Path) -> None:
    """Reading and steps follow one another in it; an epoch's accuracy stands in a line of its own."""
    args = train_args(root, tmp_path / "store", "--loss", "cross_entropy")
    environment = {name: value for name, value in os.environ.items() if name != "KDLIB_PROGRESS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    parent, child = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=_read, args=(parent, shown))
    reader.start()
    command = [sys.executable, "-c", COMMAND, *args]
    done = subprocess.run(command, stdout=child, stderr=child, env=environment, timeout=300)
    os.close(child)
    reader.join()
    said = b"".join(shown).decode().replace("\r\n", "\n")
    assert done.returncode == 0, said
    parts = [part for part in re.split(r"\r\x1b\[K|\n", said) if part]
    assert f"reading the folders of {root}" in parts and any(re.match(r"epoch 1/2 step 2/10 loss ", p) for p in parts)
    assert len(re.findall(r"\r\x1b\[Kepoch [12]/2 loss [\d.]+ top-1 [\d.]+% top-5 [\d.]+%\n", said)) == 2
    assert said.count("\n") <= 2 + len(UNREADABLE) + 3, "what stays, and the table of the row"


def _read(handle: int, into: list[bytes]) -> None:
    while True:
        try:
            found = os.read(handle, 4096)
        except OSError:  # the last one who writes has closed the terminal
            return
        if not found:
            return
        into.append(found)


def test_scalars_go_to_tensorboard(root: Path, tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    more = ["--loss", "cross_entropy", "--tensorboard", str(tmp_path / "scalars"), "--log-seconds", "0"]
    assert main(train_args(root, tmp_path / "store", *more)) == 0
    events = accumulators.EventAccumulator(str(tmp_path / "scalars"))
    events.Reload()
    (row,) = Store(tmp_path / "store").rows()
    assert events.Scalars("val/top1")[-1].value == pytest.approx(row["test_acc"])
    assert len(events.Scalars("train/loss")) > 10


def test_without_tensorboard_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'kdlib\[tensorboard\]'"):
        scalar_writer("anywhere")
