"""Class folders of images that do not fit into memory: which files there are, and one image of them at a time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from kdlib.imagenet.decoding import DECODE_ERRORS, DECODERS, reason, resized_side
from kdlib.utils import progress, seeds
from kdlib.utils.devices import torch_seed

# Channel statistics of ImageNet's training images, which torchvision's weights were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Split:
    """The files of one folder: `FOLDER/CLASS/NAME`, ordered by class and name; sample i is file i.

    names:  (N,) paths below the folder, UTF-8 bytes (an array and not a list, which each decoding process would copy)
    labels: (N,) int64
    """

    folder: Path
    classes: tuple[str, ...]
    names: NDArray[np.bytes_]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """Path of sample i below the folder, such as "n01440764/n01440764_18.JPEG"."""
        return self.names[i].decode()

    @cached_property
    def listing(self) -> str:
        """SHA-256 of all names and sizes in bytes: the identity of the folder that needs no reading of the images."""
        digest = hashlib.sha256()
        with progress.working(f"looking at {len(self):,} files of {self.folder.name}"):
            for name in self.names.tolist():
                digest.update(name + b"\0%d\n" % (self.folder / name.decode()).stat().st_size)
        return digest.hexdigest()


def read_split(folder: Path) -> Split:
    """The class folders below `folder`; ValueError if it is missing or a class has no image, naming the classes."""
    try:
        found = ImageFolder(folder)
    except FileNotFoundError as problem:
        wanted = "it must hold one folder of images for each class"
        raise ValueError(f"{folder}: {wanted} ({str(problem).splitlines()[0].rstrip('.')})") from problem
    names = np.array([Path(file).relative_to(folder).as_posix().encode() for file, _ in found.samples])
    return Split(folder, tuple(found.classes), names, np.array(found.targets, dtype=np.int64))


def read_splits(root: Path, train: str = "train", val: str = "val") -> tuple[Split, Split]:
    """Training and validation files; ValueError naming the classes that only one of the two has."""
    parts = read_split(root / train), read_split(root / val)
    for one, other in (parts, parts[::-1]):
        missing = sorted(set(one.classes) - set(other.classes))
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise ValueError(f"{other.folder} has no images of class {', '.join(missing[:5])}{more}; {one.folder} has")
    return parts


class Sample(NamedTuple):
    """One image, or a batch of them after collation.

    image:  uint8 (3, S, S)
    label:  class index
    id:     which sample of the split
    weight: 1, or 0 for an image that could not be read: it counts nowhere
    reason: why it could not be read, "" if it could
    digest: SHA-256 of the file's bytes, "" unless asked for
    """

    image: Tensor
    label: int
    id: int
    weight: float
    reason: str
    digest: str


class Images(Dataset[Sample]):
    """The images of a split, by (epoch, sample): the training crop of sample i in epoch e depends on nothing else.

    `crop`: random crops of at least `min_crop` of the area and flips (training), or None: the central square.
    An unreadable image has weight 0; `skip_unreadable` says whether `loading.readable` lets it pass.
    """

    def __init__(
        self,
        split: Split,
        image_size: int,
        *,
        min_crop: float | None = None,
        seed: int = 0,
        decode: str = "full",
        skip_unreadable: bool = True,
        digest: bool = False,
    ) -> None:
        self.split, self.size, self.seed = split, image_size, seed
        self.random = min_crop is not None
        self.decode, self.skip_unreadable, self.digest = DECODERS[decode], skip_unreadable, digest
        crop = (
            [v2.Resize(resized_side(image_size), antialias=True), v2.CenterCrop(image_size)]
            if min_crop is None
            else [v2.RandomResizedCrop(image_size, scale=(min_crop, 1.0), antialias=True), v2.RandomHorizontalFlip()]
        )
        self.transform = v2.Compose([*crop, v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        label = int(self.split.labels[index])
        content = b""
        try:
            content = (self.split.folder / self.split.name(index)).read_bytes()
            image, weight, why = self._view(content, epoch, index), 1.0, ""
        except DECODE_ERRORS as problem:
            image, weight, why = torch.zeros(3, self.size, self.size, dtype=torch.uint8), 0.0, reason(problem)
        return Sample(image, label, index, weight, why, hashlib.sha256(content).hexdigest() if self.digest else "")

    def _view(self, content: bytes, epoch: int, index: int) -> Tensor:
        image = self.decode(content, resized_side(self.size))
        if not self.random:
            return self.transform(image)
        with torch_seed(seeds.integer(self.seed, "augment", epoch, index)):
            return self.transform(image)
