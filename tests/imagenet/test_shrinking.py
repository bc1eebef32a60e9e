"""Shrunken copies: sizes, names, checksums, going on after a stop."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from kdlib.imagenet import shrinking
from kdlib.imagenet.folders import read_splits
from kdlib.imagenet.shrinking import CHECKSUMS, damaged, read_checksums, shrink
from kdlib.utils import progress
from tests.imagenet.folder import CMYK, GREY, TRAIN, UNREADABLE, VAL


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, shrinking.Shrunk]:
    target = tmp_path_factory.mktemp("shrunk") / "copy"
    return target, shrink(root, target, side=48, workers=1)


def test_every_readable_image_is_there_and_small(root: Path, copy: tuple[Path, shrinking.Shrunk]) -> None:
    target, done = copy
    assert done.files == done.new == TRAIN + VAL - len(UNREADABLE)
    assert set(done.unreadable) == {f"train/{name}" for name in UNREADABLE}
    for name in read_checksums(target):
        with Image.open(root / name) as before, Image.open(target / name) as after:
            assert min(after.size) == min(48, *before.size) and after.format == before.format
            assert after.width / after.height == pytest.approx(before.width / before.height, rel=0.03)
    same = [n for n in read_checksums(target) if (root / n).read_bytes() == (target / n).read_bytes()]
    assert same, "images that are small enough keep their bytes"
    assert done.bytes_after < done.bytes_before
    train, val = read_splits(target)
    assert len(train) + len(val) == done.files


def test_grey_and_cmyk_images_are_rgb_in_the_copy(root: Path, copy: tuple[Path, shrinking.Shrunk]) -> None:
    for name in (GREY, CMYK):
        with Image.open(root / "train" / name) as before, Image.open(copy[0] / "train" / name) as after:
            assert after.mode == "RGB" or min(before.size) <= 48


def test_the_checksums_are_those_of_the_usual_tool(copy: tuple[Path, shrinking.Shrunk]) -> None:
    if not shutil.which("sha256sum"):
        pytest.skip("needs sha256sum")
    done = subprocess.run(["sha256sum", "--check", "--quiet", CHECKSUMS], cwd=copy[0], capture_output=True, text=True)
    assert done.returncode == 0 and len(read_checksums(copy[0])) == copy[1].files, done.stderr


def test_shrinking_says_how_far_it_is(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    monkeypatch.setattr(progress, "START", 0.0)
    monkeypatch.setattr(shrinking, "BLOCK", 50)
    said: list[str] = []
    with progress.shown_by(lambda text, milestone: said.append(text)):
        shrink(root, tmp_path / "copy", side=48, workers=1)
    whole = f"{TRAIN + VAL:,} images"
    assert said[0] == f"looking for images below {root}" and said[-1] == "adding up the sizes"
    assert said[1] == f"shrinking: 0 of {whole}" and said[2].startswith(f"shrinking: 50 of {whole}, 0:00:")


def test_a_stopped_copy_goes_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "copy"
    shrink(root, target, side=48, workers=1)
    lines = (target / CHECKSUMS).read_text().splitlines(keepends=True)
    (target / CHECKSUMS).write_text("".join(lines[:100]) + lines[100][:70])  # cut off within a line
    (target / lines[3][66:].strip()).unlink()
    done = shrink(root, target, side=48, workers=1)
    assert done.new == len(lines) - 100 + 1 and done.files == len(lines)
    assert damaged(target) == [] and len(read_checksums(target)) == len(lines)


def test_damage_is_named(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    shrink(root / "val", target, side=48, workers=1)
    first, second = list(read_checksums(target))[:2]
    (target / first).write_bytes((target / first).read_bytes() + b"\0")
    (target / second).unlink()
    assert damaged(target) == [first, second]


def test_what_cannot_work_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not lie in one another"):
        shrink(root, root / "train" / "copy")
    with pytest.raises(ValueError, match="not a folder"):
        shrink(tmp_path / "nowhere", tmp_path / "copy")
    with pytest.raises(ValueError, match="no image below"):
        (tmp_path / "empty").mkdir()
        shrink(tmp_path / "empty", tmp_path / "copy")
    with pytest.raises(ValueError, match="at least 32"):
        shrink(root, tmp_path / "copy", side=3)
