"""The index of a grid of runs of one lesson: its points, what became of each, its notebook and its figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from kdlib.course.site.pages import filled, page
from kdlib.course.suite import Outcome
from kdlib.utils.files import write_whole


def write_index(outcomes: Sequence[Outcome], folder: str | Path) -> Path:
    """Write `folder/index.html`, which links to the notebooks and shows the figures that lie beside it."""
    folder = Path(folder)
    names = list(dict.fromkeys(name for o in outcomes for name in o.task.parameters))
    failed = sum(bool(o.error) for o in outcomes)
    title = f"{outcomes[0].task.source.stem}: {len(outcomes)} runs, {failed} failed"
    points = [_point(outcome, names, folder) for outcome in outcomes]
    body = filled("grid.html.j2", {"title": title, "names": names, "points": points})
    write_whole(folder / "index.html", page(title, body, pictures="'self' file:"))
    return folder / "index.html"


def _point(outcome: Outcome, names: Sequence[str], folder: Path) -> dict:
    task = outcome.task
    notebook = task.notebook.with_name(f"{task.label}.failed.ipynb") if outcome.error else task.notebook
    pictures = [_link(task.folder / name, folder) for name in outcome.figures if name.endswith(".png")]
    values = [str(task.parameters.get(name, "as written")) for name in names]
    return {"values": values, "notebook": _link(notebook, folder), "error": outcome.error, "pictures": pictures}


def _link(path: Path, folder: Path) -> str:
    return quote(os.path.relpath(path, folder))
