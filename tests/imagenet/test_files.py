"""What the engine writes is there as a whole or not at all: the old file outlives a disk that is full."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from kdlib.imagenet.networks import build, save_weights
from kdlib.imagenet.scoring import card_of, write_scores
from kdlib.imagenet.shrinking import CHECKSUMS, shrink


def _weights(folder: Path) -> Path:
    save_weights(build("mobilenet_v3_small", 2, 32), "mobilenet_v3_small", 2, folder / "student.safetensors")
    return folder / "student.safetensors"


def _scores(folder: Path) -> Path:
    write_scores(pd.DataFrame({"file": ["a.png"], "difficulty": [1.5]}), folder / "scores.csv", {"teacher": "tiny"})
    return folder / "scores.csv"


def _card(folder: Path) -> Path:
    return card_of(_scores(folder))


def _copy(folder: Path) -> Path:
    source = folder.parent / "source"
    source.mkdir(exist_ok=True)
    Image.new("RGB", (40, 40)).save(source / "a.png")
    shrink(source, folder, side=32, workers=1)
    return folder / "a.png"


@pytest.mark.parametrize("write", [_weights, _scores, _card, _copy])
def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(
    write: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Path, file: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = write(tmp_path / "made")
    file.write_bytes(b"old")
    (file.parent / CHECKSUMS).unlink(missing_ok=True)  # so that the copy is made anew
    monkeypatch.setattr("kdlib.utils.files.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "made")
    assert file.read_bytes() == b"old" and [p.name for p in file.parent.iterdir() if p.name.startswith(".")] == []


def test_a_copy_waits_for_the_disk_by_its_list_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million images that each wait would take hours more; what a power cut damages, their checksums tell."""
    calls: list[int] = []
    monkeypatch.setattr("kdlib.utils.files.os.fsync", calls.append)
    _copy(tmp_path / "made")
    assert len(calls) == 2, "the list and its folder; not the image and the folder again"
