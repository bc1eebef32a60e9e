"""Views: the enumerable set is the one that RandomCrop and RandomHorizontalFlip draw from, pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as TF

from kdlib.data.augment import AUGMENTATIONS, apply_views, normalise
from kdlib.utils import seeds


def images(count: int, channels: int = 3, size: int = 32, width: int = 0) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, channels, size, width or size), dtype=np.uint8)
    return torch.from_numpy(pixels)


def by_torchvision(image: torch.Tensor, view: int, augment: str) -> torch.Tensor:
    """One view of one image by torchvision's own functions, from the meaning of the id."""
    chosen, (size, width) = AUGMENTATIONS[augment], image.shape[-2:]
    pad = chosen.pad(size)
    offset, flip = divmod(view, 2) if chosen.flip else (view, 0)
    top, left = divmod(offset, 2 * pad + 1)
    view_of_it = TF.crop(TF.pad(image, [pad] * 4), top, left, size, width)
    return TF.hflip(view_of_it) if flip else view_of_it


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 8)])
def test_every_view_is_torchvisions(augment: str, channels: int, size: int) -> None:
    count = AUGMENTATIONS[augment].num_views(size)
    x = images(count, channels, size)
    ours = apply_views(x, torch.arange(count), augment)
    theirs = torch.stack([by_torchvision(image, view, augment) for view, image in enumerate(x)])
    assert ours.dtype == torch.uint8 and torch.equal(ours, theirs)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("width", [12, 24])
def test_every_view_of_images_that_are_not_square(augment: str, width: int) -> None:
    count = AUGMENTATIONS[augment].num_views(16)
    x = images(count, 3, 16, width)
    theirs = torch.stack([by_torchvision(image, view, augment) for view, image in enumerate(x)])
    assert torch.equal(apply_views(x, torch.arange(count), augment), theirs)


def test_sizes_of_the_sets() -> None:
    assert [AUGMENTATIONS[a].num_views(32) for a in ("none", "crop", "crop_flip")] == [1, 81, 162]
    assert [AUGMENTATIONS[a].num_views(8) for a in ("none", "crop", "crop_flip")] == [1, 9, 18]


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("size", [8, 32])
def test_the_clean_view_is_the_image(augment: str, size: int) -> None:
    x = images(5, size=size)
    view = torch.full((5,), AUGMENTATIONS[augment].clean_view(size))
    assert torch.equal(apply_views(x, view, augment), x)


def test_all_views_of_an_image_without_symmetry_differ() -> None:
    x = images(1).expand(162, 3, 32, 32)
    assert len(torch.unique(apply_views(x, torch.arange(162)).flatten(1), dim=0)) == 162


def test_views_leave_their_input_alone_and_take_empty_batches() -> None:
    x = images(3)
    before = x.clone()
    apply_views(x, torch.tensor([0, 1, 161]))
    assert torch.equal(x, before)
    assert apply_views(x[:0], torch.zeros(0, dtype=torch.int64)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("view", [-1, 162])
def test_ids_outside_the_set_raise(view: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.161"):
        apply_views(images(1), torch.tensor([view]))


def test_an_unknown_augmentation_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'crop_flip'"):
        apply_views(images(1), torch.tensor([0]), "cropflip")


def test_views_are_drawn_uniformly() -> None:
    views = AUGMENTATIONS["crop_flip"].draw(seeds.stream(0, "augment", 0), 32, 162 * 200)
    counts = np.bincount(views, minlength=162)
    chi_square = ((counts - 200) ** 2 / 200).sum()  # 161 degrees of freedom: mean 161, standard deviation 18
    assert len(counts) == 162 and 100 < chi_square < 240


def test_normalise_is_totensor_and_normalize() -> None:
    x, mean, std = images(4), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    plain = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    theirs = torch.stack([plain(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in x])
    ours = normalise(x, mean, std)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)
