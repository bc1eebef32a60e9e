"""Fixtures of these tests."""

from __future__ import annotations

import shutil

import pytest

from kdlib.course import notebooks
from tests.course.samples import FIXTURES


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with lessons 01 (fine), 02 (fails) and 04 (fails at seed 1)."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(FIXTURES / "good.ipynb", tmp_path / "notebooks" / "01_good_lesson.ipynb")
    shutil.copy(FIXTURES / "failing.ipynb", tmp_path / "notebooks" / "02_failing_lesson.ipynb")
    at_seed_1 = notebooks.read(FIXTURES / "good.ipynb")
    at_seed_1.cells[-1].source = "assert seed != 1, 'seed 1 is bad'"
    notebooks.write(at_seed_1, tmp_path / "notebooks" / "04_fails_at_seed_1.ipynb")
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "figures"))
    return tmp_path
