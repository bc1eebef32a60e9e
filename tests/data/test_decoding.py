"""The cache of decoded folders: whole or made again, also when several processes write it and when it is damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlib.data import decoding, folders
from kdlib.data.decoding import Decoded, cached
from kdlib.data.folders import load_folder
from kdlib.utils import progress


def some(seed: int = 0) -> Decoded:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 1, 4, 4), dtype=np.uint8)
    return Decoded(torch.from_numpy(pixels), torch.tensor([True, True, False, True]), ("cannot be read (cut)",), True)


def same(a: Decoded, b: Decoded) -> bool:
    return (
        torch.equal(a.pixels, b.pixels)
        and torch.equal(a.kept, b.kept)
        and (a.problems, a.scaled) == (b.problems, b.scaled)
    )


def not_again() -> Decoded:
    pytest.fail("decoded a second time")


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    file = tmp_path / "new" / "x.safetensors"
    assert same(cached(file, some), some()) and same(cached(file, not_again), some())
    assert [f.name for f in file.parent.iterdir()] == ["x.safetensors"]


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    cached(file, some)
    whole = file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")  # the arrays begin behind the header
    for place in (0, 9, start // 2, start, (start + len(whole)) // 2, len(whole) - 1):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert same(cached(file, lambda: some(5)), some(5)), place
        file.write_bytes(whole)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_cache_is_made_again(tmp_path: Path, length: int) -> None:
    file = tmp_path / "x.safetensors"
    cached(file, some)
    file.write_bytes(file.read_bytes()[:length])
    assert same(cached(file, some), some()) and same(cached(file, not_again), some())


def test_a_place_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert same(cached(tmp_path / "file" / "x.safetensors", some), some())


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kdlib.utils.files.os.replace", full)
    assert same(cached(tmp_path / "x.safetensors", some), some()) and list(tmp_path.iterdir()) == []


def test_a_folder_is_decoded_once(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_folder(str(pictures), tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(folders, "decode", lambda *_: pytest.fail("decoded a second time"))
        again = load_folder(str(pictures), tmp_path / "cache")
    assert again.content_hash == first.content_hash and again.train_files == first.train_files
    (pictures / "train" / "cat" / "0.png").write_bytes((pictures / "train" / "dog" / "0.png").read_bytes())
    assert load_folder(str(pictures), tmp_path / "cache").content_hash != first.content_hash


CHILD = """
import sys
from pathlib import Path
from kdlib.data.folders import load_folder
print(load_folder(sys.argv[1], Path(sys.argv[2])).content_hash)
"""


def test_processes_that_decode_at_once_do_not_disturb_each_other(pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(pictures), str(tmp_path / "cache")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    assert len(list((tmp_path / "cache" / "folders").iterdir())) == 1


def test_decoding_says_how_far_it_is(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    monkeypatch.setattr(progress, "START", 0.0)
    said: list[str] = []
    with progress.shown_by(lambda text, milestone: said.append(text)):
        decoding.decode(sorted(pictures.rglob("*.png")), None, "folder:x")
    assert said[0].startswith("looking through folder:x: 1 of 8 images, 0:00:0")
    assert said[-1] == "decoding folder:x: 8 of 8 images, 0:00:00 left"
