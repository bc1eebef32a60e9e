"""Folders of images: the layouts, the sizes, what is skipped, and errors that name the fix."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdlib.data.core import Dataset, describe
from kdlib.data.folders import folder_and_size, load_folder
from tests.data.conftest import write_image


@pytest.fixture
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[object], Dataset]:
    """Loads a folder with a cache of its own."""
    root = tmp_path_factory.mktemp("cache")
    return lambda text: load_folder(str(text), root)


def test_two_parts(pictures: Path, load: Callable) -> None:
    found = load(pictures)
    assert found.name == f"folder:{pictures}" and found.classes == ("cat", "dog")
    assert found.train_x.shape == (6, 3, 8, 8) and found.test_x.shape == (2, 3, 8, 8)
    assert found.train_x[:, 0, 0, 0].tolist() == [0, 10, 20, 40, 50, 60]
    assert found.test_x[:, 0, 0, 0].tolist() == [5, 45] and found.test_y.tolist() == [0, 1]
    assert found.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.train_files == tuple(f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(3))
    assert found.other_files == ("test/cat/0.png", "test/dog/0.png")
    assert describe(found) == "train 6, test 2, 2 classes, 8x8 RGB"
    assert repr(found) == f"<Dataset folder:{pictures}: train 6, test 2, 2 classes, 8x8 RGB>"


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "Test"), ("training", "validation"), ("TRAIN", "val"), ("train", "testing")]
)
def test_parts_have_several_names_and_are_never_classes(pictures: Path, load: Callable, train: str, test: str) -> None:
    plain = load(pictures)
    (pictures / "train").rename(pictures / "x"), (pictures / "test").rename(pictures / "y")
    (pictures / "x").rename(pictures / train), (pictures / "y").rename(pictures / test)
    found = load(pictures)
    assert found.content_hash == plain.content_hash and found.classes == ("cat", "dog")
    assert found.train_files[0] == f"{train}/cat/0.png"
    assert found.notes == ((f"{test}/ is the test part",) if test.startswith("val") else ())


def test_what_is_not_used_is_said(pictures: Path, load: Callable) -> None:
    write_image(pictures / "Val" / "cat" / "0.png", 3)
    (pictures / "papers").mkdir()
    (pictures / "train" / "cat" / "notes.txt").write_text("tabby")
    (pictures / "train" / "cat" / ".hidden.png").write_bytes(b"")
    (pictures / "train" / "dog" / "broken.png").write_bytes(b"not an image")
    half = (pictures / "train" / "dog" / "0.png").read_bytes()
    (pictures / "train" / "dog" / "cut.png").write_bytes(half[: len(half) // 2])
    write_image(pictures / "train" / "stray.png", 3)
    found = load(pictures)
    assert found.notes == ("Val/ not used", "papers/ not used") and len(found.train_y) == 6
    assert describe(found).endswith("8x8 RGB, Val/ not used, papers/ not used, 4 files skipped")
    files, reasons = zip(*(line.split(": ", 1) for line in found.skipped), strict=True)
    assert files == ("train/stray.png", "train/cat/notes.txt", "train/dog/broken.png", "train/dog/cut.png")
    assert reasons[:2] == ("in no class folder", "not an image")
    assert all(reason.startswith("cannot be read (") for reason in reasons[2:])
    assert load(pictures).skipped == found.skipped  # from the cache, too


def test_without_parts_a_fifth_of_each_class_is_the_test_part(tmp_path: Path, load: Callable) -> None:
    for label, name in enumerate(("a", "b")):
        for i in range(10):
            write_image(tmp_path / name / f"{i}.png", 20 * i + label, mode="L")
    found = load(tmp_path)
    assert found.train_x.shape == (16, 1, 8, 8) and found.test_x.shape == (4, 1, 8, 8)
    assert torch.bincount(found.test_y).tolist() == [2, 2]
    colours = [f"{'ab'[colour % 20]}/{colour // 20}.png" for colour in found.train_x[:, 0, 0, 0].tolist()]
    assert found.train_files == tuple(colours) and len({*found.train_files, *found.other_files}) == 20
    assert describe(found) == "train 16, test 4, 2 classes, 8x8 grey"


# -- sizes and pixels


@pytest.mark.parametrize(("suffix", "shape"), [("", (3, 32, 32)), ("@16", (3, 16, 16)), ("@12x20", (3, 12, 20))])
def test_images_of_unlike_sizes_are_scaled(pictures: Path, load: Callable, suffix: str, shape: tuple) -> None:
    write_image(pictures / "train" / "cat" / "wide.png", 200, size=(30, 10))
    found = load(f"{pictures}{suffix}")
    assert found.image_shape == shape
    assert found.notes == (() if suffix else ("scaled to 32x32",)) == load(f"{pictures}{suffix}").notes
    assert found.name == f"folder:{pictures}"


def test_a_size_is_height_times_width_and_keeps_proportions(tmp_path: Path, load: Callable) -> None:
    """Left half black, right half white: scaled by 2 to 16x32, then cut in the middle to 16 rows and 12 columns."""
    image = np.zeros((8, 16), np.uint8)
    image[:, 8:] = 255
    for name in ("a", "b"):
        for i in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    x = load(f"{tmp_path}@16x12").train_x[0, 0]
    assert x.shape == (16, 12) and int(x[:, :4].max()) == 0 and int(x[:, -4:].min()) == 255


def test_an_at_sign_in_a_path_is_no_size(
    pictures: Path, load: Callable, tmp_path_factory: pytest.TempPathFactory
) -> None:
    odd = tmp_path_factory.mktemp("at") / "cats@home@16"
    pictures.rename(odd)
    assert load(odd).image_shape == (3, 8, 8) and load(f"{odd}@16").image_shape == (3, 16, 16)
    assert folder_and_size(f"{odd}@24x48") == (odd, (24, 48))


def deep_image(values: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16)).save(file)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, load: Callable, suffix: str) -> None:
    values = np.arange(64).reshape(8, 8) * 1040
    for name in ("a", "b"):
        for i in range(2):
            deep_image(values, tmp_path / name / f"{i}.{suffix}")
    x = load(tmp_path).train_x
    assert x.shape == (2, 1, 8, 8) and x[0, 0].tolist() == np.rint(values / 257).astype(int).tolist()
    assert len(x[0].unique()) == 64


def test_pixels_that_are_no_small_numbers_are_skipped_with_the_fix(tmp_path: Path, load: Callable) -> None:
    for name in ("a", "b"):
        for i in range(2):
            write_image(tmp_path / name / f"{i}.png", 10, mode="L")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "a" / "float.tif")
    Image.fromarray(np.full((8, 8), 10**6, np.int32)).save(tmp_path / "a" / "long.tif")
    found = load(tmp_path)
    assert len(found.skipped) == 2 and all("save it with 8 or 16 bits" in line for line in found.skipped)


def test_other_modes_keep_their_colours(tmp_path: Path, load: Callable) -> None:
    grey = Image.new("L", (8, 8), 100)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        grey.convert("LA").save(tmp_path / name / "0.png")
        Image.new("1", (8, 8), 1).save(tmp_path / name / "1.png")
        grey.save(tmp_path / name / "2.png")
    assert load(tmp_path).image_shape == (1, 8, 8)  # grey with alpha and black-and-white are grey
    Image.new("P", (8, 8), 0).save(tmp_path / "a" / "3.gif")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "b" / "4.jpg", quality=100)
    found = load(tmp_path)
    reddish = found.train_x[[f == "b/4.jpg" for f in found.train_files]]
    assert found.image_shape == (3, 8, 8)
    assert len(reddish) == 0 or (reddish[0, 0] > 200).all() and (reddish[0, 1] < 60).all()


def test_photographs_stand_upright(tmp_path: Path, load: Callable) -> None:
    """Orientation 6: the camera was turned, so that the first column of the file is the top row of the picture."""
    image, exif = np.zeros((8, 8), np.uint8), Image.Exif()
    image[:, 0] = 255
    exif[0x0112] = 6
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png", exif=exif)
    x = load(tmp_path).train_x[0, 0]
    assert (x[0] == 255).all() and (x[1:] == 0).all()


# -- errors


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_class_in_one_part_only_is_refused(pictures: Path, load: Callable, side: str) -> None:
    write_image(pictures / side / "emu" / "0.png", 3)
    lacking = "test" if side == "train" else "training"
    with pytest.raises(ValueError, match=f"no {lacking} image in class emu; remove the class or add images$"):
        load(pictures)


def test_a_class_whose_images_are_all_broken_is_refused(pictures: Path, load: Callable) -> None:
    for part in ("train", "test"):
        (pictures / part / "emu").mkdir()
        (pictures / part / "emu" / "0.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="no training image in class emu"):
        load(pictures)


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path, load: Callable) -> None:
    for name, count in (("a", 3), ("b", 1)):
        for i in range(count):
            write_image(tmp_path / name / f"{i}.png", 10)
    with pytest.raises(ValueError, match="no test image in class b"):
        load(tmp_path)


def test_pipes_and_broken_links_are_refused_at_once(pictures: Path, load: Callable) -> None:
    odd = pictures / "train" / "cat" / "x.png"
    os.mkfifo(odd)
    with pytest.raises(ValueError, match=r"train/cat/x.png is a device or pipe, not an image; remove it$"):
        load(pictures)
    odd.unlink()
    odd.symlink_to(pictures / "nowhere.png")
    with pytest.raises(
        ValueError, match=r"train/cat/x.png cannot be read: No such file or directory; replace or remove"
    ):
        load(pictures)
    odd.unlink()
    odd.symlink_to(pictures / "train" / "dog" / "0.png")
    assert len(load(pictures).train_y) == 7


def test_too_large_for_this_machine(pictures: Path, load: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdlib.data.decoding.MEMORY_SHARE", 1e-9)
    monkeypatch.setattr("kdlib.data.decoding.read_image", lambda *_: pytest.fail("decoded although it cannot fit"))
    with pytest.raises(
        ValueError, match="8 images of 8x8 would take .* choose a smaller size, such as folder:PATH@64$"
    ):
        load(pictures)


# -- a table of labels


def write_table(folder: Path, text: str) -> None:
    (folder / "labels.csv").write_text(text)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for i in range(8):
        write_image(tmp_path / "images" / f"{i}.png", 10 * i)
    return tmp_path


def test_labels_from_a_table(flat: Path, load: Callable) -> None:
    rows = [f"images/{i}.png,{'cat' if i % 2 else 'dog'},{'Test' if i > 4 else 'train'}" for i in range(7)]
    write_table(flat, "\n".join(["File, Label ,split", *rows, ""]))
    found = load(flat)
    assert found.classes == ("cat", "dog") and found.train_y.tolist() == [1, 0, 1, 0, 1]
    assert found.train_x[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40] and found.test_x[:, 0, 0, 0].tolist() == [50, 60]
    assert found.train_files == tuple(f"images/{i}.png" for i in range(5))
    assert found.other_files == ("images/5.png", "images/6.png")
    assert found.skipped == ("images/7.png: not in labels.csv",)


def test_a_table_without_split_is_split_like_class_folders(flat: Path, load: Callable) -> None:
    write_table(flat, "label,file\n" + "".join(f"{'ab'[i % 2]},images\\{i}.png\n" for i in range(8)))
    found = load(f"{flat}@8")
    assert torch.bincount(found.train_y).tolist() == [3, 3] and torch.bincount(found.test_y).tolist() == [1, 1]
    for x, y in ((found.train_x, found.train_y), (found.test_x, found.test_y)):
        assert (x[:, 0, 0, 0] // 10 % 2 == y).all()


@pytest.mark.parametrize(
    ("third", "note"), [("test", "2 validation images not used"), ("", "validation rows are the test part")]
)
def test_validation_rows_of_a_table(flat: Path, load: Callable, third: str, note: str) -> None:
    parts = ["train"] * 4 + ["val"] * 2 + [third or "train"] * 2
    write_table(flat, "file,label,split\n" + "".join(f"images/{i}.png,{i % 2},{p}\n" for i, p in enumerate(parts)))
    found = load(flat)
    assert found.notes == (note,) and len(found.test_y) == 2
    assert found.test_x[:, 0, 0, 0].tolist() == ([60, 70] if third else [40, 50])


def test_a_table_of_files_in_train_and_test_folders_is_split_by_them(pictures: Path, load: Callable) -> None:
    plain = load(pictures)
    files = sorted(f.relative_to(pictures).as_posix() for f in pictures.rglob("*.png"))
    write_table(pictures, "file,label\n" + "".join(f"{f},{f.split('/')[1]}\n" for f in files))
    assert load(pictures).content_hash == plain.content_hash
