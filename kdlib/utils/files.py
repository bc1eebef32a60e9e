"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def write_whole(path: Path, payload: bytes | str, *, sync: bool = True) -> None:
    """Write the file so that a reader, a crash or a power cut sees all of it or none of it; text as UTF-8.

    A file that is there is replaced, a symbolic link by a file of its own (what it pointed to stays as it is). Without
    `sync` nothing waits for the disk, and a power cut may damage the file: for very many files that have checksums.
    """
    part = _written(path, payload, sync)
    try:
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    if sync:
        _sync_folder(path.parent)


def publish(path: Path, payload: bytes | str) -> bool:
    """Write the file like `write_whole`, but only if there is none; False if there is, which then stays as it is."""
    part = _written(path, payload)
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError as problem:
        if problem.errno not in NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            return False
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()
    _sync_folder(path.parent)
    return True


def _written(path: Path, payload: bytes | str, sync: bool = True) -> Path:
    """A temporary file beside `path` with the payload in it, with `sync` on the disk for certain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(part, "xb") as file:
            file.write(payload.encode() if isinstance(payload, str) else payload)
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    return part


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_target(path: Path) -> None:
    """ValueError, in one line, if a result cannot be written to `path`: to be asked before the work that makes it.

    Devices, pipes, folders and symbolic links are refused: writing a whole file would put a file in their place.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link and is not replaced; name the file that it points to")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a {'folder' if path.is_dir() else 'device or pipe'}; name a file")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{path} cannot be written: {folder} is not a folder that you may write to")
