"""Figures that a test draws are closed after it, so that no test meets those of another."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Close every figure in the end."""
    yield
    plt.close("all")
