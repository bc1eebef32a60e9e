"""Adding a method is one function and one entry: one of each kind is added here and run from the command line to its row.

CONTRIBUTING.md shows the same recipes; `test_contributing_shows_these_recipes` keeps the two alike.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.__main__ import main
from kdlib.data.core import Dataset, make_dataset
from kdlib.data.datasets import DATASETS, load
from kdlib.losses import LOSSES
from kdlib.models import MODELS, Features, Network
from kdlib.scorers import SCORERS, Scorer
from kdlib.selection import SELECTIONS

ROOT = Path(__file__).parent.parent
TINY = ["--epochs", "2", "--fraction", "0.2", "--lr", "0.02", "--json"]


# -- the recipes


def rarely_right(signals, labels, rng, *, first: int = 0):
    """How rarely a sample was right from epoch `first` on: a scorer with one option."""
    return 1 - signals.correct[:, first:].mean(axis=(0, 1))


def every_nth(scores, fraction, *, rng, offset: int = 0):
    """Every n-th sample of the ranking: a selection rule with one option."""
    step = round(1 / fraction)
    return np.sort(np.argsort(scores, kind="stable")[offset::step])


def clipped_kd(student, teacher, labels, *, alpha=0.5, tau=4.0, limit: float = 5.0, squared: bool = False):
    """KD on clipped logits: a loss on logits with two options of its own."""
    gap = (student - teacher.detach()).clamp(-limit, limit) / tau
    distance = gap.square() if squared else gap.abs()
    return (1 - alpha) * F.cross_entropy(student, labels, reduction="none") + alpha * distance.mean(-1)


def stripes(root) -> Dataset:
    """Images with horizontal or vertical stripes: a dataset with two classes."""
    rng, labels = np.random.default_rng(0), np.arange(120) % 2
    images = rng.integers(0, 80, (120, 1, 8, 8)) + 120 * (np.arange(8) % 2) * (labels == 0)[:, None, None, None]
    images = np.where(labels[:, None, None, None] == 0, images, images.swapaxes(2, 3)).astype(np.uint8)
    return make_dataset("stripes", (images[:80], labels[:80]), (images[80:], labels[80:]), ["across", "down"])


def slopes(root) -> Dataset:
    """A noisy linear function of three features: a dataset with a continuous target."""
    x = torch.randn(200, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    y = (x[:, :, 0, 0] @ torch.tensor([1.0, -2.0, 0.5])) / 2.3
    return Dataset("slopes", x[:150], y[:150], x[150:], y[150:], (), (0.0,) * 3, (1.0,) * 3)


class Shallow(Network):
    """One convolution and a linear layer: a network."""

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(in_channels, 8, 3, padding=1), nn.Linear(8, num_classes)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        maps = F.relu(self.stem(x))
        embedding = maps.mean((2, 3))
        return Features([maps], embedding, self.head(embedding))


# -- each of them from the command line to its row


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setitem(SCORERS, "rarely_right", Scorer(rarely_right, ("correct",)))
    monkeypatch.setitem(SELECTIONS, "every_nth", every_nth)
    monkeypatch.setitem(LOSSES, "clipped_kd", clipped_kd)
    monkeypatch.setitem(DATASETS, "stripes", stripes)
    monkeypatch.setitem(DATASETS, "slopes", slopes)
    monkeypatch.setitem(MODELS, "shallow", Shallow)
    load.cache_clear()


def row_of(capsys: pytest.CaptureFixture, *args: str) -> dict:
    assert main(["run", *TINY, *args]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    ("plain", "with_options"),
    [
        (["--scorer", "rarely_right"], ["--scorer", "rarely_right(first=1)"]),
        (["--scorer", "el2n", "--selection", "every_nth"], ["--scorer", "el2n", "--selection", "every_nth(offset=2)"]),
        (["--loss", "clipped_kd"], ["--loss", "clipped_kd(limit=2, squared=true)"]),
    ],
)
def test_a_method_and_its_options(plain: list[str], with_options: list[str], capsys: pytest.CaptureFixture) -> None:
    rows = [row_of(capsys, *args) for args in (plain, with_options, plain)]
    assert all(row["status"] == "ok" for row in rows)
    assert rows[0]["train_loss"] != rows[1]["train_loss"] and rows[0] == rows[2]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--scorer", "rarly_right"], "did you mean 'rarely_right'"),
        (["--loss", "clipped_kd(limt=2)"], "did you mean 'limit'"),
        (["--loss", "clipped_kd(squared=2)"], "must be true or false"),
        (["--selection", "every_nth", "--centre", "0.5"], "does not heed centre"),
    ],
)
def test_mistakes_name_the_new_names(args: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["run", *args]) == 2
    assert said in capsys.readouterr().err


def test_help_lists_the_new_names(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in ("rarely_right(first=0)", "every_nth(offset=0)", "clipped_kd(limit=5, squared=False)", "shallow"):
        assert text in out, text


def test_a_dataset_and_a_network(capsys: pytest.CaptureFixture) -> None:
    row = row_of(
        capsys, "--dataset", "stripes", "--student", "shallow", "--teacher", "shallow", "--scorer", "forgetting"
    )
    assert row["kept"] == 16 and row["teacher_acc"] >= 0


def test_a_dataset_for_regression(capsys: pytest.CaptureFixture) -> None:
    row = row_of(capsys, "--dataset", "slopes", "--loss", "squared_error", "--epochs", "60")
    assert row["kept"] == 30 and row["test_acc"] > 50
    assert main(["run", "--dataset", "slopes"]) == 2
    assert "which has a continuous target" in capsys.readouterr().err


def test_contributing_shows_these_recipes() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for recipe in (rarely_right, every_nth, clipped_kd, stripes, slopes, Shallow):
        assert inspect.getsource(recipe).strip() in text, recipe.__name__
