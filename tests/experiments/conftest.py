"""Fixtures of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlib.store.artefacts import Store


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))
