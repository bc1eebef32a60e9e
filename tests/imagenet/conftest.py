"""One generated folder and one trained tiny network for all tests of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlib.imagenet import networks
from tests.imagenet.folder import make_folder
from tests.imagenet.jobs import Tiny


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated folder of images; tests that change it make their own."""
    return make_folder(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of a tiny network's random weights for the four classes."""
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model = networks.build("tiny", 4, 32, seed=7)
    assert isinstance(model, Tiny)
    networks.save_weights(model, "tiny", 4, file)
    return str(file)
