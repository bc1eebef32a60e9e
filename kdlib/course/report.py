"""The report: every figure and every lesson on one HTML page that needs nothing from a network.

nbconvert turns each executed notebook into HTML; style, pictures and MathJax are written into the page itself. It holds no
dates: equal results give an equal page.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlib import __version__
from kdlib.course import lessons, notebooks
from kdlib.course.suite import Outcome
from kdlib.utils.files import write_whole

ASSETS = Path(__file__).parent / "assets"
TITLE = "Knowledge distillation on pruned data"
LEAD = (
    "What a student learns when most of the training data is left out, which samples to keep, and what a teacher's "
    "soft targets add. Every number and picture on this page comes from the lessons below, run on this machine or "
    "redrawn from the rows that are kept with them."
)
CELLS = """{%- extends 'basic/index.html.j2' -%}
{% block any_cell %}
{%- if 'solution' in cell.metadata.get('tags', []) -%}
<details class="solution"><summary>Solution</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{% endblock any_cell %}"""
MATHJAX = r"""window.MathJax = {
  tex: { inlineMath: [["$", "$"], ["\\(", "\\)"]], displayMath: [["$$", "$$"], ["\\[", "\\]"]], processEscapes: true },
  options: { enableMenu: false, ignoreHtmlClass: "no-math", processHtmlClass: "math" },
  svg: { fontCache: "global" }
};"""
FOLLOW = """const seen = new IntersectionObserver(entries => entries.forEach(entry => {
  const part = document.querySelector(`nav details[data-for="${entry.target.id}"]`);
  if (part) part.open = entry.isIntersecting;
}), { rootMargin: "-30% 0px -69% 0px" });
document.querySelectorAll("section").forEach(section => seen.observe(section));"""


@dataclass(frozen=True)
class Chapter:
    """A lesson on the page: its anchor, title, first paragraph, HTML, its pictures, and what went wrong."""

    name: str
    title: str
    question: str
    body: str
    pictures: tuple[Path, ...] = ()
    error: str = ""

    @property
    def anchor(self) -> str:
        return f"lesson-{self.name}"

    @property
    def number(self) -> str:
        return self.name.split("_")[0]

    def sections(self) -> list[tuple[str, str]]:
        """(anchor, text) of the second-level headings."""
        found = re.findall(r'<h2[^>]*\bid="([^"]+)"[^>]*>(.*?)</h2>', self.body, re.DOTALL)
        texts = [(anchor, re.sub(r"<[^>]+>", "", text).strip()) for anchor, text in found]
        return [(anchor, re.sub(r"[\s·,(–-]+\d+ min\w*\.?\)?$", "", text)) for anchor, text in texts]


def write_report(outcomes: Sequence[Outcome], path: str | Path) -> Path:
    """Write the page for what the lessons made; a lesson that failed is named with its error."""
    chapters = [chapter(outcome) for outcome in outcomes]
    body = "\n".join([_overview(chapters), *(_section(c) for c in chapters), _footer()])
    page = _page(TITLE, f'<div class="page">{_navigation(chapters)}<main>{body}</main></div>', math=True)
    return _write(page, Path(path))


def chapter(outcome: Outcome) -> Chapter:
    """One lesson's part of the page."""
    task = outcome.task
    nb = notebooks.read(task.source if outcome.error else task.notebook)
    stem = task.source.stem
    body = "" if outcome.error else lesson_html(nb, stem)
    pictures = [task.folder / name for name in outcome.figures]
    # Of a figure's two files the PNG: an SVG's text needs fonts that the reader may not have.
    chosen = {p.stem: p for p in sorted(pictures, key=lambda p: p.suffix == ".png")}
    ordered = tuple(chosen[key] for key in sorted(chosen))
    return Chapter(stem, _plain_title(nb, stem), _question(nb), body, ordered, outcome.error)


def lesson_html(nb: Any, stem: str) -> str:
    """The notebook's cells as HTML: solutions folded, anchors unique on the page, nothing loaded from elsewhere."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic",
        template_file="cells.html.j2",
        extra_loaders=[DictLoader({"cells.html.j2": CELLS})],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )  # without embed_images, which would close each block of HTML, and so unfold what a lesson folds
    body, _ = exporter.from_notebook_node(nb, resources={"metadata": {"path": str(lessons.folder())}})
    body = re.sub(r'<script\b.*?</script>|<link\b[^>]*>|<a class="anchor-link".*?</a>', "", body, flags=re.DOTALL)
    body = re.sub(r'\s*id="cell-id=[^"]*"', "", body)  # lessons may share a cell, and ids follow from sources
    body = re.sub(r'(<h[1-6][^>]*\bid=")([^"]+)"', rf'\g<1>{stem}-\g<2>"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{stem}-\g<1>"', body)
    number = stem.split("_")[0]
    body = re.sub(rf"(<h1[^>]*>)\s*(?:Lesson\s+)?{number}[\s.:·–-]+", r"\1", body, count=1)
    return re.sub(r'href="(?:\./|notebooks/)*(\d\d_\w+)\.ipynb[^"]*"', r'href="#lesson-\g<1>"', body)


def _plain_title(nb: Any, stem: str) -> str:
    """The title without the lesson's number, which the page shows anyway."""
    return re.sub(r"^(?:Lesson\s+)?\d+[\s.:·–-]+", "", notebooks.title(nb)) or stem


def _question(nb: Any) -> str:
    """The first paragraph of a notebook, as HTML."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    texts = [part for cell in nb.cells if cell.cell_type == "markdown" for part in cell.source.split("\n\n")]
    no_text = ("#", "|", ">", "- ", "* ", "<", "$$", "1.")
    plain = (text.strip() for text in texts if text.strip() and not text.lstrip().startswith(no_text))
    return markdown2html_mistune(re.sub(r"^\*\*[^*]+\*\*\s*", "", next(plain, "")))


def _overview(chapters: Sequence[Chapter]) -> str:
    rows = "".join(
        f'<tr><td><a href="#{c.anchor}">{c.number}</a></td><td><a href="#{c.anchor}">{html.escape(c.title)}</a></td>'
        f"<td>{c.question}</td></tr>"
        for c in chapters
    )
    table = (
        '<table class="contents"><thead><tr><th></th><th>Lesson</th><th>What it asks</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    gallery = "".join(_figure(c, picture) for c in chapters for picture in c.pictures)
    return (
        f'<section id="overview"><h1>{TITLE}</h1><p class="lead">{LEAD}</p><h2>Lessons</h2>{table}'
        f'<h2>Figures</h2><div class="gallery">{gallery}</div></section>'
    )


def _figure(c: Chapter, picture: Path) -> str:
    words = re.sub(r"^\d+[a-z]?_", "", picture.stem).replace("_", " ")
    caption = html.escape(words[:1].upper() + words[1:])
    return (
        f'<figure><a href="#{c.anchor}"><img alt="{caption}" src="{_data_uri(picture)}"></a>'
        f'<figcaption>{caption} &middot; <a href="#{c.anchor}">lesson {c.number}</a></figcaption></figure>'
    )


def _section(c: Chapter) -> str:
    failed = f'<p class="failed">{html.escape(c.error)}</p>' if c.error else ""
    heading = f"<h1>{html.escape(c.title)}</h1>" if c.error else ""
    kicker = f'<div class="kicker">Lesson {c.number}</div>'
    return f'<section class="lesson" id="{c.anchor}">{kicker}{heading}{failed}{c.body}</section>'


def _navigation(chapters: Sequence[Chapter]) -> str:
    entries = []
    for c in chapters:
        inner = "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in c.sections())
        entries.append(
            f'<details data-for="{c.anchor}"><summary><a href="#{c.anchor}">{c.number} {html.escape(c.title)}</a></summary>'
            f"<div>{inner}</div></details>"
        )
    return f'<nav><a class="brand" href="#overview">{TITLE}</a>{"".join(entries)}</nav>'


def _footer() -> str:
    return f"<footer>kdlib {__version__}. Formulas are set by MathJax (Apache License 2.0).</footer>"


def _page(title: str, body: str, math: bool = False) -> str:
    from pygments.formatters import HtmlFormatter

    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    style += HtmlFormatter(style="xcode").get_style_defs(".highlight") + ".highlight { background: none }"
    scripts = [FOLLOW, MATHJAX, (ASSETS / "tex-svg-full.js").read_text(encoding="utf-8")] if math else []
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
            f"<title>{html.escape(title)}</title><style>{style}</style></head><body>{body}",
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>\n",
        ]
    )


def _data_uri(picture: Path) -> str:
    kind = {".png": "png", ".svg": "svg+xml"}[picture.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _write(page: str, path: Path) -> Path:
    write_whole(path, page)
    return path


# ------------------------------------------------------------------------------------ a grid of runs


def write_index(outcomes: Sequence[Outcome], folder: str | Path) -> Path:
    """Write `folder/index.html`: the points of a grid, what became of each, its notebook and its figures."""
    folder = Path(folder)
    names = list(dict.fromkeys(name for o in outcomes for name in o.task.parameters))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in (*names, "result", "figures"))
    rows = "".join(_point(outcome, names, folder) for outcome in outcomes)
    failed = sum(bool(o.error) for o in outcomes)
    title = f"{outcomes[0].task.source.stem}: {len(outcomes)} runs, {failed} failed"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _write(_page(title, f"<main><h1>{html.escape(title)}</h1>{table}</main>"), folder / "index.html")


def _point(outcome: Outcome, names: Sequence[str], folder: Path) -> str:
    task = outcome.task
    cells = [html.escape(str(task.parameters.get(name, "as written"))) for name in names]
    notebook = task.notebook.with_name(f"{task.label}.failed.ipynb") if outcome.error else task.notebook
    link = f'<a href="{_link(notebook, folder)}">{"failed notebook" if outcome.error else "notebook"}</a>'
    error = f'<p class="failed">{html.escape(outcome.error)}</p>' if outcome.error else ""
    images = [task.folder / name for name in outcome.figures if name.endswith(".png")]
    pictures = "".join(f'<a href="{_link(p, folder)}"><img width="280" src="{_link(p, folder)}"></a>' for p in images)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in (*cells, link + error, pictures)) + "</tr>"


def _link(path: Path, folder: Path) -> str:
    from urllib.parse import quote

    return quote(os.path.relpath(path, folder))
