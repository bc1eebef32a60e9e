"""A resized copy of a folder of images: decoded once, it costs every later epoch less."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from kdlib.imagenet.decoding import DECODE_ERRORS, decode_draft, reason
from kdlib.utils import progress
from kdlib.utils.files import write_whole

CHECKSUMS = "SHA256SUMS"
"""Below the copy's folder: one line for each finished file, in the format of `sha256sum --check`."""
BLOCK = 256  # images between two notes of what is finished


@dataclass(frozen=True)
class Shrunk:
    """What `shrink` did: files of the copy, how many of them are new, bytes before and after, {file: why it is missing}."""

    files: int
    new: int
    bytes_before: int
    bytes_after: int
    unreadable: dict[str, str]


def shrink(source: Path, target: Path, *, side: int = 256, quality: int = 90, workers: int = 0) -> Shrunk:
    """Copy all images below `source` to `target` with a shorter side of at most `side` pixels, under the same names.

    JPEGs are written at `quality`, other formats as they were; an image that is small enough is copied byte for byte.
    An unreadable one is left out and named. A copy that was stopped goes on: files that SHA256SUMS lists and that are
    there are not made again. `workers`: threads, 0 for one on each core. ValueError for folders that are missing,
    that lie in one another, or a side below 32.
    """
    source, target = source.expanduser().resolve(), target.expanduser().resolve()
    if not source.is_dir() or side < 32:
        raise ValueError(f"{source} is not a folder" if side >= 32 else f"side must be at least 32 pixels, got {side}")
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise ValueError(f"{target} and {source} must not lie in one another")
    target.mkdir(parents=True, exist_ok=True)
    with progress.working(f"looking for images below {source}"):
        names = sorted(image_names(source))
        finished = {name: sha for name, sha in read_checksums(target).items() if (target / name).is_file()}
    if not names:
        raise ValueError(f"there is no image below {source}")
    todo = [name for name in names if name not in finished]
    write_whole(target / CHECKSUMS, "".join(f"{sha}  {name}\n" for name, sha in finished.items()))
    unreadable = dict(_copies(source, target, todo, side, quality, workers))
    there = [name for name in names if name not in unreadable]
    with progress.working("adding up the sizes"):
        before, after = (sum((folder / name).stat().st_size for name in there) for folder in (source, target))
    return Shrunk(len(there), len(todo) - len(unreadable), before, after, unreadable)


def image_names(folder: Path) -> Iterator[str]:
    """Paths below `folder` of all files that have an image's ending."""
    for where, _, files in os.walk(folder, followlinks=True):  # as ImageFolder does
        for name in files:
            if name.lower().endswith(IMG_EXTENSIONS):
                yield Path(where, name).relative_to(folder).as_posix()


def _copies(
    source: Path, target: Path, names: list[str], side: int, quality: int, workers: int
) -> Iterator[tuple[str, str]]:
    """Make the copies, note their checksums as they are finished, and yield (name, reason) of each unreadable image."""

    def copy(name: str) -> tuple[str, str]:
        """(SHA-256 of the copy, "") or ("", why the image cannot be read)."""
        content = (source / name).read_bytes()
        try:
            content = shrunk(content, side, quality)
        except DECODE_ERRORS as problem:
            return "", reason(problem)
        write_whole(target / name, content, sync=False)  # the checksums tell what a power cut has damaged
        return hashlib.sha256(content).hexdigest(), ""

    # Pillow works outside the interpreter's lock, so threads are enough
    pool = ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)))
    with pool, open(target / CHECKSUMS, "a") as sums, progress.line() as line:
        left = progress.TimeLeft(len(names))
        for start in range(0, len(names), BLOCK):
            line.say(f"shrinking: {start:,} of {len(names):,} images{left.after(start)}")
            block = names[start : start + BLOCK]
            for name, (digest, problem) in zip(block, pool.map(copy, block), strict=True):
                if problem:
                    yield name, problem
                else:
                    sums.write(f"{digest}  {name}\n")
            sums.flush()


def shrunk(content: bytes, side: int, quality: int = 90) -> bytes:
    """An encoded image whose shorter side is at most `side`: the same bytes if it already is.

    Raises what Pillow raises for an image that cannot be decoded as a whole.
    """
    with Image.open(io.BytesIO(content)) as image:
        kind, size = image.format or "PNG", image.size
        if min(size) <= side:
            image.load()
            return content
    large = decode_draft(content, side)
    scale = side / min(large.size)
    small = large.resize((round(large.width * scale), round(large.height * scale)), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    small.save(encoded, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return encoded.getvalue()


def read_checksums(folder: Path) -> dict[str, str]:
    """{name: SHA-256} of the finished files of a copy; a last line that was cut off does not count."""
    file = folder / CHECKSUMS
    lines = file.read_text().split("\n")[:-1] if file.is_file() else []
    return {line[66:]: line[:64] for line in lines if line[64:66] == "  "}


def damaged(folder: Path) -> list[str]:
    """Files of a copy that are missing or not what was written, by reading all of them."""
    return [
        name
        for name, digest in read_checksums(folder).items()
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
    ]
