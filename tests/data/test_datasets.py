"""Datasets: what is loaded, what is refused, and that row i is sample i for ever."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlib.data import datasets
from kdlib.data.core import Dataset, make_dataset
from kdlib.data.datasets import load, with_validation
from kdlib.data.noise import with_imbalance, with_label_noise
from kdlib.utils import paths, progress

PACKED = Path(os.environ.get("KDLIB_DATASETS", paths.root().parent / "shared" / "datasets"))


def test_digits_are_real_and_split_once_for_all() -> None:
    digits = load("digits")
    assert digits.train_x.shape == (1347, 1, 8, 8) and digits.test_x.shape == (450, 1, 8, 8)
    assert digits.train_x.dtype == torch.uint8 and digits.train_y.dtype == torch.int64
    share = torch.bincount(digits.test_y) / torch.bincount(torch.cat([digits.train_y, digits.test_y]))
    assert ((share - 0.25).abs() < 0.01).all()
    x = digits.train_x.double() / 255
    assert digits.mean[0] == pytest.approx(float(x.mean()), abs=1e-9)
    assert digits.std[0] == pytest.approx(float(x.std(correction=0)), abs=1e-9)
    fresh = datasets._digits(Path())
    assert fresh.content_hash == digits.content_hash


def test_a_changed_pixel_or_label_changes_the_content_hash() -> None:
    digits = load("digits")
    assert with_label_noise(digits, 0.5, 0).content_hash != digits.content_hash
    x = digits.train_x.clone()
    x[5, 0, 3, 3] ^= 1
    changed = make_dataset("digits", (x, digits.train_y), (digits.test_x, digits.test_y), digits.classes)
    assert changed.content_hash != digits.content_hash


def test_diabetes_is_standardised_regression() -> None:
    diabetes = load("diabetes")
    assert diabetes.is_regression and diabetes.num_classes == 1
    assert len(diabetes.train_y) + len(diabetes.test_y) == 442
    assert float(diabetes.train_y.mean()) == pytest.approx(0, abs=1e-5)
    assert float(diabetes.train_y.std(correction=0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [lambda d: with_validation(d, 0.4), lambda d: with_imbalance(d, [0.3, 1], 0), lambda d: with_label_noise(d, 1, 0)],
)
def test_samples_keep_their_files(pictures: Path, tmp_path: Path, change: Callable[[Dataset], Dataset]) -> None:
    """The colour of an image, 40 a class and 10 an image, says which file it came from."""
    whole = load(f"folder:{pictures}", tmp_path / "cache")
    found = change(whole)
    colours = found.train_x[:, 0, 0, 0].tolist()
    assert found.train_files == tuple(f"train/{('cat', 'dog')[c // 40]}/{c % 40 // 10}.png" for c in colours)
    assert {*found.train_files, *found.other_files} == {*whole.train_files, *whole.other_files}


def test_data_without_files_have_no_names() -> None:
    for name in ("digits", "diabetes"):
        assert load(name).train_files == with_validation(load(name)).train_files == ()


def test_labels_out_of_range_are_refused() -> None:
    x = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, found 0\.\.2"):
        make_dataset("mine", (x, torch.tensor([0, 1, 2])), (x, torch.tensor([0, 1, 1])), ["a", "b"])


def test_unknown_dataset_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'cifar100'"):
        load("cifar-100")


def test_download_is_asked_for_and_a_failure_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets as theirs

    asked = []

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        asked.append(type(self).__name__)
        raise OSError("no network")

    for kind in (theirs.CIFAR10, theirs.CIFAR100, theirs.SVHN):
        monkeypatch.setattr(kind, "download", refuse)
    for name in ("cifar10", "cifar100", "svhn"):
        with pytest.raises(RuntimeError, match=r"could not get .*by hand.*folder:PATH"):
            load(name, tmp_path)
    assert asked == ["CIFAR10", "CIFAR100", "SVHN"]


def test_a_download_says_how_far_it_is_in_the_way_of_all_other_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from torchvision import datasets as theirs

    monkeypatch.setattr(progress, "BEAT", 0.01)
    said: list[str] = []

    def download(self: object) -> None:
        sys.stderr.write("a bar of torchvision's own")
        (tmp_path / "svhn").mkdir(exist_ok=True)
        (tmp_path / "svhn" / "part").write_bytes(bytes(2_000_000))
        deadline = time.monotonic() + 30
        while "getting svhn: 2 MB are here" not in said and time.monotonic() < deadline:
            time.sleep(0.01)
        raise OSError("the line is cut")

    monkeypatch.setattr(theirs.SVHN, "download", download)
    with progress.shown_by(lambda text, milestone: said.append(text)), pytest.raises(RuntimeError, match="is cut"):
        load("svhn", tmp_path)
    assert "getting svhn: 2 MB are here" in said
    with pytest.raises(
        RuntimeError, match=r"\(the line is cut\); remove the 1 files there, which may be damaged, and try"
    ):
        load("svhn", tmp_path)
    assert capsys.readouterr().err == ""


def test_validation_split_never_touches_the_test_part() -> None:
    digits = load("digits")
    held = with_validation(digits, 0.2)
    assert len(held.train_y) + len(held.test_y) == len(digits.train_y)
    rows = torch.cat([held.train_x, held.test_x]).flatten(1)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, digits.train_x.flatten(1).tolist()))


@pytest.mark.skipif(not (PACKED / "cifar100").is_dir(), reason="the packed CIFAR datasets are not on this machine")
def test_all_of_cifar100(tmp_path: Path) -> None:
    for part in sorted((PACKED / "cifar100").glob("*.zip")):
        with zipfile.ZipFile(part) as archive:
            archive.extractall(tmp_path / "cifar100")
    found = load("cifar100", tmp_path)  # class folders below the data root spare the download
    assert found.train_x.shape == (50_000, 3, 32, 32) and found.test_x.shape == (10_000, 3, 32, 32)
    assert torch.bincount(found.train_y).tolist() == [500] * 100
    assert found.classes[0] == "apple" and found.classes[99] == "worm"
    np.testing.assert_allclose(found.mean, (0.5071, 0.4865, 0.4409), atol=1e-4)
    np.testing.assert_allclose(found.std, (0.2673, 0.2564, 0.2762), atol=1e-4)


@pytest.mark.skipif(not (PACKED / "cifar10").is_dir(), reason="the packed CIFAR datasets are not on this machine")
def test_cifar10_test_part(tmp_path: Path) -> None:
    with zipfile.ZipFile(PACKED / "cifar10" / "test.zip") as archive:
        archive.extractall(tmp_path)
    found = load(f"folder:{tmp_path / 'test'}", tmp_path / "cache")
    assert found.num_classes == 10 and len(found.train_y) + len(found.test_y) == 10_000
    assert found.classes[0] == "airplane" and found.classes[9] == "truck"
