"""Fixtures of these tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kdlib.store.artefacts import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path: Path):
    """A real file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=30", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root; the file-size limit below stands in")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
