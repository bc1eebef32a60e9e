"""The site: a front page, the executed lessons, the API and a page for lecturers, as files that need no network.

nbconvert turns each executed notebook into HTML, latex2mathml its formulas into MathML, nh3 takes out what could do harm.
No page holds a date: equal results give equal pages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdlib.course import lessons, suite
from kdlib.utils import paths, progress
from kdlib.utils.files import write_whole


def write_site(outcomes: Sequence[suite.Outcome], folder: str | Path) -> Path:
    """Write the site for what the lessons made, unless it is there for the same; returns its first page.

    A lesson that failed has a page with its error. Pages of lessons that are no more are removed.
    """
    folder = Path(folder)
    seen = _inputs(outcomes)
    stamp = paths.store() / "lessons" / f"site-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}.json"
    if _stamp(stamp) == {"inputs": seen, "outputs": suite.hashes(sorted(folder.glob("*.html")))}:
        return folder / "index.html"
    with progress.line() as line:
        line.say("the site")
        from kdlib.course.site.build import all_pages  # nbconvert and matplotlib, which take seconds to load

        pages = all_pages(outcomes, line.detail)
    for old in set(folder.glob("*.html")) - {folder / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        write_whole(folder / name, text)
    write_whole(stamp, json.dumps({"inputs": seen, "outputs": suite.hashes(sorted(folder.glob("*.html")))}))
    return folder / "index.html"


def _inputs(outcomes: Sequence[suite.Outcome]) -> str:
    """A hash of all that decides the pages: lessons, their errors, kdlib with its assets, rows, the lecturers' text."""
    files = [outcome.task.source if outcome.error else outcome.task.notebook for outcome in outcomes]
    assets = sorted((Path(__file__).parents[1] / "assets").glob("*"))
    rows = [p for name in ("results", "paper") for p in sorted(paths.given(name).rglob("*"))]
    code = sorted(Path(__file__).parents[2].rglob("*.py"))
    seen = [
        *suite.hashes([*files, *assets, *rows, *code, lessons.folder() / "README.md"]),
        *(outcome.error for outcome in outcomes),
    ]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _stamp(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
