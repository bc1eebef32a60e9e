"""The digest of the code that decides an outcome: what changes it and what does not."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kdlib.experiments.rules import digest
from kdlib.losses import LOSSES
from kdlib.losses.logits import cross_entropy, kd
from kdlib.models import MODELS
from kdlib.training.loop import train_batched

SOURCE = '''
"""A module of a user."""
from kdlib.losses.logits import soft_kl

SCALE = 2.0


def helper(x):
    return SCALE * x


def loss(student, teacher, labels, *, sharpness=1.0):
    """What it does."""
    # why
    return helper(soft_kl(student, teacher, 4.0)) * sharpness


def other(x):
    return x - 1


PAIR = (lambda x: x + 1, lambda x: x + 2)
'''


def load(folder: Path, source: str, name: str = "of_a_user") -> ModuleType:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def before(tmp_path: Path) -> str:
    return digest(load(tmp_path / "before", SOURCE).loss)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* sharpness", "* sharpness * 0"),
        ("sharpness=1.0", "sharpness=2.0"),
        ("SCALE * x", "SCALE + x"),
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("soft_kl(student, teacher, 4.0)", "soft_kl(teacher, student, 4.0)"),
    ],
)
def test_changed_code_is_another_digest(before: str, tmp_path: Path, old: str, new: str) -> None:
    assert old in SOURCE
    assert digest(load(tmp_path / "after", SOURCE.replace(old, new)).loss) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why", "# another reason"),
        ('"""What it does."""', '"""What it does, said better."""'),
        ("4.0)) * sharpness", "4.0)) * (\n        sharpness\n    )"),
        ("return x - 1", "return x - 2"),
        ("\n\n\ndef other", "\n\n\nUNUSED = 3\n\n\ndef other"),
    ],
)  # fmt: skip
def test_comments_docstrings_format_and_code_out_of_reach_play_no_part(
    before: str, tmp_path: Path, old: str, new: str
) -> None:
    assert old in SOURCE
    assert digest(load(tmp_path / "after", SOURCE.replace(old, new)).loss) == before


def test_moving_a_file_plays_no_part(before: str, tmp_path: Path) -> None:
    assert digest(load(tmp_path / "elsewhere", "# a line more\n" + SOURCE, "of_another_name").loss) == before


def test_lambdas_on_one_line_are_told_apart(tmp_path: Path) -> None:
    first, second = load(tmp_path, SOURCE).PAIR
    assert digest(first) != digest(second)


def test_partials_and_values_count() -> None:
    assert digest(functools.partial(kd, tau=2.0)) != digest(functools.partial(kd, tau=3.0))
    assert digest(kd, 1) != digest(kd, 2) and digest(kd, 1) == digest(1, kd)
    assert len({digest(MODELS[name]) for name in ("resnet8", "resnet20", "mlp", "vit")}) == 4


def test_a_registry_is_no_part_of_what_a_function_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(train_batched, kd)
    monkeypatch.setitem(LOSSES, "mine", lambda student, teacher, labels: labels)
    assert digest(train_batched, kd) == before


def test_a_function_without_source_stands_for_its_bytecode() -> None:
    space: dict = {}
    exec("def f(x): return x + 1\ndef g(x): return x + 2\ndef h(x): return x + 1", space)
    assert digest(space["f"]) != digest(space["g"])


def test_the_loop_reaches_what_it_trains_with() -> None:
    from kdlib.experiments.rules import _reached

    text = "\n".join(_reached(train_batched))
    for name in ("def apply_views", "def normalise", "def batches", "class Stack", "def accuracy"):
        assert name in text
    assert digest(cross_entropy) != digest(kd)
