"""Augmentation as an enumerable set of views: crop offset x horizontal flip.

A crop with padding p has (2p + 1)^2 offsets; with the flip a 32x32 image (p = 4) has 81 x 2 = 162 views. Because the set
is finite, a frozen teacher's logits can be computed once for each (sample, view) and kept.
View ids count offsets row by row, the flip fastest: `id = (dy * (2p + 1) + dx) * 2 + flip`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdlib.utils.errors import choose


@dataclass(frozen=True)
class Augmentation:
    """Crop after zero padding of `image side // pad_divisor` pixels (0: no crop), and a flip or none."""

    pad_divisor: int = 0
    flip: bool = False

    def pad(self, image_size: int) -> int:
        """Padding in pixels on each side, from the height of the image: 4 for a 32x32 image, 1 for 8x8."""
        return image_size // self.pad_divisor if self.pad_divisor else 0

    def num_views(self, image_size: int) -> int:
        """How many different views one sample has."""
        return (2 * self.pad(image_size) + 1) ** 2 * (2 if self.flip else 1)

    def clean_view(self, image_size: int) -> int:
        """The id of the view that leaves the image as it is."""
        return (self.num_views(image_size) // (2 if self.flip else 1) // 2) * (2 if self.flip else 1)

    def draw(self, rng: np.random.Generator, image_size: int, count: int) -> np.ndarray:
        """`count` view ids (int64), uniform over the set."""
        return rng.integers(self.num_views(image_size), size=count)


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "crop": Augmentation(pad_divisor=8),  # for images whose mirror image is another thing, such as digits
    "crop_flip": Augmentation(pad_divisor=8, flip=True),  # CIFAR's usual recipe
}


def apply_views(x: Tensor, view_ids: Tensor, augment: str = "crop_flip") -> Tensor:
    """The views `view_ids` (B,) of the images `x` (B,C,H,W): a tensor like x, computed for the whole batch at once.

    Padding is with raw zeros, before normalisation, as RandomCrop does on images. Raises ValueError for an unknown
    augmentation and for ids outside its set.
    """
    chosen = choose("augmentation", augment, AUGMENTATIONS)
    height, width = x.shape[-2:]
    count, pad = chosen.num_views(height), chosen.pad(height)
    checked = view_ids.device.type == "cpu"  # on a GPU the check would wait for it, in every step
    if checked and view_ids.numel() and not (0 <= int(view_ids.min()) and int(view_ids.max()) < count):
        raise ValueError(f"view ids of {augment!r} lie in 0..{count - 1} for {height}x{width} images")
    offset = view_ids // 2 if chosen.flip else view_ids
    if pad:
        windows = F.pad(x, (pad,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p+1, 2p+1, H, W), no copy
        batch = torch.arange(len(x), device=x.device)
        x = windows[batch, :, offset // (2 * pad + 1), offset % (2 * pad + 1)]
    if chosen.flip:
        x = torch.where((view_ids % 2 == 1)[:, None, None, None], x.flip(-1), x)
    return x


def normalise(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images (B,C,H,W) -> float32 with zero mean and unit variance per channel over the training set, channels last.

    uint8 values are on the scale 0..255, `mean` and `std` on 0..1; float features are taken on the scale of `mean`.
    """
    top = 255 if x.dtype == torch.uint8 else 1
    scale, shift = _scale_and_shift(top, mean, std, x.device)
    return (x.to(torch.float32) * scale - shift).contiguous(memory_format=torch.channels_last)


@functools.lru_cache(maxsize=16)
def _scale_and_shift(
    top: int, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Kept on the device: made anew in each step they would be a transfer that the GPU has to wait for."""
    with torch.inference_mode(False):
        scale = torch.tensor([1 / (top * s) for s in std], device=device)
        shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=device)
        return scale[:, None, None], shift[:, None, None]
