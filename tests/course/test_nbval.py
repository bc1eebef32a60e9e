"""nbval in lax mode: every cell of a lesson runs in order, in Jupyter's own way, without an error."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def nbval(*paths, **environment):
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120"]
    command += ["-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts=", "-q", *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_the_first_lessons(tmp_path):
    """The smoke preset comes through the environment, because nbval gives no parameters.

    Two lessons show that this way of running works; `test_notebooks.py` runs every lesson.
    """
    lessons = sorted((ROOT / "notebooks").glob("0[01]_*.ipynb"))
    done = nbval(*lessons, KDLIB_PRESET="smoke", KDLIB_FIGURES=str(tmp_path))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    made = {path.name.split("_")[0] for path in tmp_path.glob("*.svg")}
    assert made == {path.stem.split("_")[0] for path in lessons}, "each lesson wrote its figures where it was told"


def test_a_failing_cell_is_found(tmp_path):
    done = nbval(Path(__file__).parent.parent / "fixtures" / "failing.ipynb", KDLIB_FIGURES=str(tmp_path))
    assert done.returncode == 1 and "f must be in (0, 1]" in done.stdout
