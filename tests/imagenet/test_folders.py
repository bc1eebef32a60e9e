"""Folders of images: what is listed, what is refused, what one image looks like to a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdlib.imagenet.folders import Images, read_split, read_splits
from kdlib.imagenet.loading import UnreadableImage, loader, readable
from tests.imagenet.folder import CLASSES, CMYK, GREY, NO_IMAGE, TRAIN, TRUNCATED
from tests.imagenet.jobs import ALONE, QUIET


def ids(split, name: str) -> int:
    return split.names.tolist().index(name.encode())


def test_samples_are_ordered_by_class_and_name(root: Path) -> None:
    split = read_split(root / "train")
    names = [split.name(i) for i in range(len(split))]
    assert names == sorted(names) and len(names) == TRAIN
    assert [CLASSES[label] for label in split.labels] == [name.split("/")[0] for name in names]


def test_the_listing_changes_with_names_and_sizes_only(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other place"
    shutil.copytree(root / "val", copy)
    before = read_split(copy).listing
    assert before == read_split(root / "val").listing
    file = next((copy / "ant").iterdir())
    file.write_bytes(file.read_bytes() + b"\0")
    assert read_split(copy).listing != before
    file.rename(file.with_name("zzz.jpg"))
    assert read_split(copy).listing != before


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_that_only_one_part_has_is_named(root: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(root, tmp_path / "images")
    shutil.rmtree(tmp_path / "images" / part / "cat")
    with pytest.raises(ValueError, match=rf"{part} has no images of class cat"):
        read_splits(tmp_path / "images")


def test_a_class_without_images_and_a_missing_folder_are_named(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "val", tmp_path / "val")
    (tmp_path / "val" / "elk").mkdir()
    with pytest.raises(ValueError, match="elk"):
        read_split(tmp_path / "val")
    with pytest.raises(ValueError, match="nowhere: it must hold one folder of images for each class"):
        read_split(tmp_path / "nowhere")


@pytest.mark.parametrize("decode", ["full", "draft"])
@pytest.mark.parametrize("min_crop", [None, 0.08])
def test_every_readable_image_becomes_a_square(root: Path, decode: str, min_crop: float | None) -> None:
    split = read_split(root / "train")
    images = Images(split, 32, min_crop=min_crop, decode=decode)
    for i in range(len(split)):
        sample = images[0, i]
        assert sample.image.shape == (3, 32, 32) and sample.image.dtype == torch.uint8
        assert (sample.weight == 0) == (split.name(i) in (TRUNCATED, NO_IMAGE)) == bool(sample.reason)
        assert sample.label == split.labels[i] and sample.id == i and sample.digest == ""


def test_grey_and_cmyk_images_are_shown_in_rgb(root: Path) -> None:
    split = read_split(root / "train")
    images = Images(split, 32)
    grey = images[0, ids(split, GREY)].image.int()
    assert (grey[0] == grey[1]).all() and (grey[1] == grey[2]).all() and grey.float().std() > 1
    cmyk = images[0, ids(split, CMYK)].image.float().mean((1, 2))
    assert cmyk[0] > 120 and cmyk[1] > 120 and cmyk[2] < 110, "the yellow of the class, not its complement"


@pytest.mark.parametrize("name", [TRUNCATED, NO_IMAGE])
def test_an_unreadable_image_can_be_fatal(root: Path, name: str) -> None:
    split = read_split(root / "train")
    batches = [[(0, 0), (0, ids(split, name))]]
    with pytest.raises(UnreadableImage, match=f"cannot read the image {name}: "):
        list(readable(loader(Images(split, 32, skip_unreadable=False), batches, QUIET, ALONE)))
    (batch,) = readable(loader(Images(split, 32), batches, QUIET, ALONE))
    assert batch.weight.tolist() == [1, 0]


def test_sixteen_bits_are_refused_and_not_clipped(tmp_path: Path) -> None:
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        Image.fromarray(np.full((40, 40), 40000, dtype=np.uint16)).save(tmp_path / part / "deep.png")
    sample = Images(read_split(tmp_path), 32)[0, 0]
    assert sample.weight == 0 and "16 bits" in sample.reason


def test_crops_depend_on_seed_epoch_and_sample_only(root: Path) -> None:
    split = read_split(root / "train")
    images, other = Images(split, 32, min_crop=0.08, seed=3), Images(split, 32, min_crop=0.08, seed=4)
    first = images[2, 5].image
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert torch.equal(images[2, 5].image, first)
    assert torch.equal(torch.get_rng_state(), state), "the process's own generator stays as it is"
    assert not torch.equal(images[3, 5].image, first) and not torch.equal(other[2, 5].image, first)
    clean = Images(split, 32)
    assert torch.equal(clean[0, 5].image, clean[9, 5].image)


def test_the_square_of_a_validation_image_is_its_centre(tmp_path: Path) -> None:
    """Red in the middle of a wide image: its square holds nothing else."""
    wide = np.zeros((74, 200, 3), dtype=np.uint8)
    wide[:, 60:140, 0] = 255
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        Image.fromarray(wide).save(tmp_path / part / "wide.png")
    image = Images(read_split(tmp_path), 64)[0, 0].image
    assert (image[0] > 250).all() and (image[1:] < 5).all()


def test_digests_are_those_of_the_files(root: Path) -> None:
    import hashlib

    split = read_split(root / "val")
    sample = Images(split, 32, digest=True)[0, 3]
    assert sample.digest == hashlib.sha256((root / "val" / split.name(3)).read_bytes()).hexdigest()
