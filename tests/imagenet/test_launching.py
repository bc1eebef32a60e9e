"""Flags from settings, and two processes that are started, killed and started again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psutil
import pytest

from kdlib.cli.arguments import parse
from kdlib.cli.imagenet_commands import TrainOptions, with_settings
from kdlib.imagenet.config import Settings, settings
from kdlib.imagenet.example import DIGITS
from kdlib.imagenet.launching import flags, torchrun


@pytest.mark.parametrize(
    "changes", [{}, {**DIGITS, "milestones": (3, 5), "fraction": 0.5, "loss": "dkd(warmup_epochs=2)"}]
)
def test_flags_give_the_settings_back(changes: dict) -> None:
    wanted = settings(**changes)
    given = flags(wanted)
    assert sum(text.startswith("--") for text in given) == sum(
        getattr(wanted, name) != getattr(Settings(), name) for name in changes
    )
    found = parse(with_settings(TrainOptions, given), given, "imagenet train")
    assert settings(**{name: getattr(found, name) for name in vars(wanted)}) == wanted


def test_a_training_is_killed_and_goes_on(root: Path, tmp_path: Path) -> None:
    short = settings(student="mobilenet_v3_small", loss="cross_entropy", epochs=3, batch_size=32, image_size=32)
    places = [f"--root={root}", f"--store={tmp_path}", "--device=cpu", "--log-seconds=0", "--json"]
    said: list[str] = []
    killed = torchrun(["train", *flags(short), *places], until="epoch 2/3 step 1/", progress=said.append)
    assert killed == said and "epoch 2/3 step 1/" in killed[-1]
    assert not [p for p in psutil.Process().children(recursive=True) if "torch.distributed.run" in str(p.cmdline())]
    again = torchrun(["train", *flags(short), *places])
    assert any(re.match("going on from step 0 of epoch 2", line) for line in again)
    row = json.loads(again[-1])
    assert row["devices"] == 2 and row["status"] == "ok"


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code"):
        torchrun(["train", f"--root={tmp_path}"], processes=1)
