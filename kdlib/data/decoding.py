"""Image files as one uint8 array: what can be read, at which size, and a cache that damage cannot get past."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kdlib.utils import progress
from kdlib.utils.files import write_whole

Size = tuple[int, int]  # height, width

FORMAT = 2  # part of the cache's key: raised when the same files decode to other pixels
SIDES = (4, 1024)  # smallest and largest side of a decoded image in pixels
USUAL: Size = (32, 32)  # for images that differ in size or are not square
MEMORY_SHARE = 0.5  # of the machine's memory, for all decoded images together
READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError)  # what Pillow raises for files that are damaged or no images


@dataclass(frozen=True)
class Decoded:
    """What came of some files.

    pixels: uint8 (N,C,H,W) of the readable ones; kept: bool (files,), which these are; problems: one for each other file;
    scaled: whether the images were brought to the usual size because they differ in size or are not square.
    """

    pixels: Tensor
    kept: Tensor
    problems: tuple[str, ...] = ()
    scaled: bool = False


def decode(files: Sequence[Path], size: Size | None, what: str) -> Decoded:
    """Decode `files`; an unreadable one is left out and its problem kept.

    size: (height, width) to scale and cut to; None keeps the size that all files share. Grey only if every image is.
    what: the name of the dataset in messages. Raises ValueError for an image of absurd size, for a result that does not
    fit into memory, and when no file can be read.
    """
    native = size or common_size(files, what)
    target, scaled = native or USUAL, native is None
    check_memory(len(files), target, what)
    images = _each(lambda file: _or_problem(file, lambda f: read_image(f, target)), files, f"decoding {what}")
    kept = torch.tensor([not isinstance(image, str) for image in images])
    problems = tuple(image for image in images if isinstance(image, str))
    good = [image for image in images if not isinstance(image, str)]
    if not good:
        raise ValueError(
            f"{what}: none of {len(files)} image files can be read, the first: {problems[0]}; replace them"
        )
    if any(image.ndim == 3 for image in good):
        good = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in good]
        pixels = np.ascontiguousarray(np.stack(good).transpose(0, 3, 1, 2))
    else:
        pixels = np.stack(good)[:, None]
    return Decoded(torch.from_numpy(pixels), kept, problems, scaled)


def common_size(files: Sequence[Path], what: str) -> Size | None:
    """The size that all readable files share if it is square and not too large, else None; from the files' headers."""
    sizes = _each(lambda file: _or_problem(file, header_size), files, f"looking through {what}")
    found = {size for size in sizes if not isinstance(size, str)}
    height, width = next(iter(found)) if len(found) == 1 else (0, 1)
    return (height, width) if height == width and height <= SIDES[1] else None


def check_memory(count: int, size: Size, what: str) -> None:
    """ValueError when `count` RGB images of `size` would take more than half of this machine's memory."""
    needed = count * 3 * size[0] * size[1]
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**40
    if needed > MEMORY_SHARE * there:
        raise ValueError(
            f"{what}: {count} images of {size[0]}x{size[1]} would take {needed / 1e9:.0f} GB of memory and this machine "
            f"has {there / 1e9:.0f}; choose a smaller size, such as folder:PATH@64"
        )


def header_size(file: Path) -> Size:
    """(height, width) as the image is shown, from its header."""
    with Image.open(file) as image:
        _check_pixels(file, image.size)
        turned = image.getexif().get(0x0112, 1) >= 5  # the orientations that lie on their side
        return (image.width, image.height) if turned else (image.height, image.width)


def read_image(file: Path, size: Size) -> np.ndarray:
    """One image as uint8 (H,W) or (H,W,3): upright, scaled until it covers `size`, its centre cut out."""
    with Image.open(file) as opened:
        _check_pixels(file, opened.size)
        ImageOps.exif_transpose(opened, in_place=True)
        image = eight_bits(opened)
        height, width = size
        if (image.height, image.width) != size:
            scale = max(height / image.height, width / image.width)
            image = image.resize((max(width, round(image.width * scale)), max(height, round(image.height * scale))))
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        return np.asarray(image)


def eight_bits(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB; 16 bits are scaled to 8, so that white stays white. ValueError for other number formats."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("its pixels are 32-bit numbers; save it with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("1", "LA"):
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


class TooLarge(ValueError):
    """An image so large that it is a mistake or an attack: not skipped like an unreadable one, but refused."""


def _check_pixels(file: Path, size: tuple[int, int]) -> None:
    limit = Image.MAX_IMAGE_PIXELS or 2**27
    if size[0] * size[1] > limit:
        raise TooLarge(f"{file} claims {size[0]}x{size[1]} pixels, more than {limit:,}; scale it down or remove it")


def _or_problem(file: Path, read: Callable) -> np.ndarray | Size | str:
    """`read(file)`, or in one line why it cannot be read."""
    try:
        return read(file)
    except TooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(
            f"{file} is too large an image ({str(error).split(',')[0]}); scale it down or remove it"
        ) from error
    except READ_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"cannot be read ({reason.replace(str(file), file.name).replace(repr(str(file)), file.name)})"


def _each(work: Callable, files: Sequence[Path], title: str) -> list:
    """`work` on every file in four threads, which is said while it lasts."""
    found: list = []
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool, progress.line() as line:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # _check_pixels refuses these
        left = progress.TimeLeft(len(files))
        for result in pool.map(work, files):
            found.append(result)
            if line.due():
                line.say(f"{title}: {len(found):,} of {len(files):,} images{left.after(len(found))}")
    return found


# -- the cache


def cached(file: Path, make: Callable[[], Decoded]) -> Decoded:
    """What `file` holds, if it is whole; else `make()`, stored there for the next time.

    Written under a name of its own and moved into place, so that processes that decode the same folder at once do not
    disturb each other, and checked by its SHA-256 when read, so that a damaged file is decoded again. A place that
    cannot be written to costs the next load its time and nothing else.
    """
    found = _read(file)
    if found is None:
        found = make()
        try:
            _write(file, found)
        except OSError:
            pass
    return found


def _read(file: Path) -> Decoded | None:
    try:
        with safe_open(file, "pt") as stored:
            meta = stored.metadata() or {}
            problems, scaled = json.loads(meta["rest"])
            found = Decoded(stored.get_tensor("pixels"), stored.get_tensor("kept"), tuple(problems), scaled)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    return found if meta.get("sha256") == _digest(found) else None


def _write(file: Path, found: Decoded) -> None:
    arrays = {"pixels": found.pixels.contiguous(), "kept": found.kept}
    rest = json.dumps([found.problems, found.scaled])
    write_whole(file, save(arrays, {"rest": rest, "sha256": _digest(found)}))


def _digest(found: Decoded) -> str:
    digest = hashlib.sha256(json.dumps([*found.pixels.shape, found.problems, found.scaled]).encode())
    for part in (found.pixels, found.kept):
        digest.update(np.ascontiguousarray(part.numpy()).data)
    return digest.hexdigest()
