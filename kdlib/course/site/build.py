"""The pages of the site, from what the lessons made."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kdlib.course import lessons, notebooks
from kdlib.course.overview import OVERVIEW
from kdlib.course.site import front, reference
from kdlib.course.site.cells import Prose, first_picture, rendered, sanitised
from kdlib.course.site.pages import SITE, Around, filled, page
from kdlib.course.suite import Outcome

LECTURERS, API = "lecturers.html", "api.html"
FEWEST_WORDS = 6  # of a question that says without its neighbours what it asks
Links = Callable[[str], str | None]


@dataclass(frozen=True)
class Lesson:
    """A lesson on the site: its page, title, one sentence, HTML, headings, picture (address, text), and what went wrong."""

    page: str
    title: str
    sentence: str
    body: str
    headings: list[tuple[int, str, str]]
    picture: tuple[str, str] | None = None
    error: str = ""


def all_pages(outcomes: Sequence[Outcome], say: Callable[[str], object] = lambda text: None) -> dict[str, str]:
    """Every page by the name of its file; `say` hears of each lesson."""
    names = [outcome.task.source.stem for outcome in outcomes]
    found: list[Lesson] = []
    for name, outcome in zip(names, outcomes, strict=True):
        say(f"the page of {name}, {len(found) + 1} of {len(names)}")
        found.append(_lesson(outcome, _links(names)))
    say("the API reference")
    folders = reference.folders()
    lecturers = _lecturers(_links(names))
    navigation = [("Lessons", "index.html#lessons")]
    navigation += [("For lecturers", LECTURERS)] if lecturers else []
    navigation += [("API", API)]
    titles = _titles(found) + [(module.name, f"{API}#module-{module.name}") for f in folders for module in f.modules]
    pages = {}
    for k, lesson in enumerate(found):
        before, after = (found[j] if 0 <= j < len(found) else None for j in (k - 1, k + 1))
        turn = [(other.title, other.page) if other else None for other in (before, after)]
        around = Around(lesson.page, navigation, titles, *turn)
        pages[lesson.page] = page(lesson.title, lesson.body, around, lesson.headings)
    if lecturers:
        pages[LECTURERS] = page(
            lecturers.title, lecturers.body, Around(LECTURERS, navigation, titles), lecturers.headings
        )
    entries = [(name, f"{API}#{anchor}") for name, anchor in reference.titles(folders)]
    contents = [(2, folder.name, folder.name) for folder in folders]
    api = filled("api.html.j2", {"folders": folders})
    pages[API] = page("API reference", api, Around(API, navigation, titles + entries), contents)
    say("the front page")
    pages["index.html"] = page(
        SITE, filled("front.html.j2", front.front() | {"lessons": found}), Around("", navigation, titles)
    )
    return pages


def _titles(found: Sequence[Lesson]) -> list[tuple[str, str]]:
    """(title, address) of every lesson and of its sections, for the search."""
    titles = []
    for lesson in found:
        titles.append((lesson.title, lesson.page))
        titles += [
            (f"{lesson.title[:2]} › {text}", f"{lesson.page}#{anchor}")
            for level, anchor, text in lesson.headings
            if level > 1
        ]
    return titles


def _links(names: Sequence[str]) -> Links:
    """From an address in a notebook to the page of the lesson that it names; None for what the site does not hold."""

    def target(url: str) -> str | None:
        path, _, anchor = url.partition("#")
        stem = path.rsplit("/", 1)[-1].removesuffix(".ipynb")
        return f"{stem}.html{'#' + anchor if anchor else ''}" if path.endswith(".ipynb") and stem in names else None

    return target


def _lesson(outcome: Outcome, links: Links) -> Lesson:

    task = outcome.task
    nb = notebooks.read(task.source if outcome.error else task.notebook)
    prose = Prose(task.source.parent, links)
    title = notebooks.title(nb) or task.source.stem
    if outcome.error:
        body = f'<h1>{html.escape(title)}</h1><p class="failed">{html.escape(outcome.error)}</p>'
    else:
        body = rendered(nb, prose)
    sentence, figure = OVERVIEW.get(task.source.stem, (question(nb), ""))
    picture = None if outcome.error else _picture(task.folder / f"{figure}.png") or first_picture(nb)
    if picture and not picture[1]:
        picture = picture[0], f"Picture of the lesson {title}"
    return Lesson(f"{task.source.stem}.html", title, Markup(sentence), body, prose.headings, picture, outcome.error)


def _picture(file: Path) -> tuple[str, str] | None:
    """(data address, no alternative text) of a figure that the lesson wrote."""
    if not file.is_file():
        return None
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}", ""


def question(nb: Any) -> Markup:
    """The question of a lesson's first cell in one sentence: the first that asks in six words or more, else the first.

    Emphasis is kept and formulas are set; what is bold at the start ("The question.") is left out.
    """

    first = next((cell.source for cell in nb.cells if cell.cell_type == "markdown"), "")
    text = next((part for part in first.split("\n\n") if part.strip() and not part.lstrip().startswith("#")), "")
    text = " ".join(re.sub(r"^\*\*[^*]+\*\*\s*", "", text.strip()).split())
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z*`$])", text)
    asks = (sentence for sentence in sentences if sentence.endswith("?") and len(sentence.split()) >= FEWEST_WORDS)
    asked = next(asks, sentences[0])
    rendered = Prose(Path(), lambda url: None).render(asked).strip().removeprefix("<p>").removesuffix("</p>")
    return Markup(sanitised(rendered))


def _lecturers(links: Links) -> Lesson | None:
    """The page for lecturers, `notebooks/README.md`, if there is one."""

    file = lessons.folder() / "README.md"
    if not file.is_file():
        return None
    prose = Prose(file.parent, links)
    body = sanitised(prose.render(file.read_text(encoding="utf-8")))
    title = prose.headings[0][2] if prose.headings else "For lecturers"
    return Lesson(LECTURERS, title, "", body, prose.headings)
