"""A notebook as HTML that is safe to open: formulas as MathML, an alternative text for every picture, no script."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nh3
from jinja2 import FileSystemLoader, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from kdlib.course import notebooks
from kdlib.course.site.formulas import MATHML, MATHML_ATTRIBUTES, mathml

ASSETS = Path(__file__).parents[1] / "assets"
PICTURES = {".png": "png", ".svg": "svg+xml", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif"}
TAGS = nh3.ALLOWED_TAGS | MATHML | {"details", "summary", "figure", "figcaption", "section", "style", "input", "label"}
ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    **{tag: MATHML_ATTRIBUTES for tag in MATHML},
    "*": {"class", "id", "style", "role", "title"},
    "img": {"src", "alt", "width", "height"},
    "a": {"href"},
    "input": {"type", "name", "checked"},
    "label": {"for"},
    "details": {"open"},
}


def sanitised(text: str) -> str:
    """HTML of which only harmless elements and attributes are left: no scripts, handlers, frames or plug-ins.

    Pictures are data, never addresses, so that an opened page asks nobody for anything.
    """
    return nh3.clean(
        text,
        tags=TAGS,
        attributes=ATTRIBUTES,
        clean_content_tags={"script", "iframe", "object", "embed", "template", "noscript"},
        generic_attribute_prefixes={"aria-"},
        attribute_filter=_harmless,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )


def _harmless(tag: str, name: str, value: str) -> str | None:
    address = value.strip().lower()
    if name == "src":
        return value if address.startswith("data:image/") else None
    if name == "href" and address.startswith("data:"):
        return None
    if name == "type":
        return value if address in ("radio", "checkbox", "range") else None
    return None if name == "style" and ("url(" in address or "@import" in address) else value


def as_data(picture: Path) -> str:
    """A picture file as a data address."""
    kind = PICTURES[picture.suffix.lower()]
    return f"data:image/{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"


@dataclass
class Prose:
    """Markdown to HTML for one page, and the headings met on the way: (level, anchor, text)."""

    folder: Path
    pages: Callable[[str], str | None]
    headings: list[tuple[int, str, str]] = field(default_factory=list)

    def render(self, source: str, attachments: Any = None) -> str:
        """HTML of a piece of Markdown; `folder` is where its pictures lie, `pages` knows the page for a link."""
        renderer = _Renderer(self, attachments)
        return MarkdownWithMath(renderer=renderer).render(source)

    def anchor(self, text: str) -> str:
        """A name for a heading that no other on the page has."""
        base, taken = "-".join(text.split()), {name for _, name, _ in self.headings}
        return next(name for name in (base, *(f"{base}-{k}" for k in range(2, 99))) if name not in taken)


class _Renderer(IPythonRenderer):
    """nbconvert's renderer, with formulas, headings, links, pictures and tables as a page of the site has them."""

    def __init__(self, prose: Prose, attachments: Any) -> None:
        super().__init__(escape=False, exclude_anchor_links=True, attachments=attachments or {})
        self.prose = prose

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return mathml(body, display=True)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", display=True)

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        plain = Markup(text).striptags()
        anchor = self.prose.anchor(plain)
        without_time = re.sub(r"\s*[·,(–-]\s*\d+ min\w*\.?\)?$", "", plain)
        self.prose.headings.append((level, anchor, without_time))
        return f'<h{level} id="{html.escape(anchor)}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        target = url if re.match(r"(?i)https?://|mailto:|#", url) else self.prose.pages(url)
        return f'<a href="{html.escape(target)}">{text}</a>' if target else text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        found = self._embed_image_or_attachment(url)
        file = (self.prose.folder / url).resolve()
        if not found.startswith("data:") and file.suffix.lower() in PICTURES and file.is_file():
            found = as_data(file)
        return f'<img alt="{html.escape(text)}" src="{html.escape(found)}">'

    def table(self, text: str) -> str:
        return f'<div class="scroll"><table>\n{text}</table></div>\n'


class _Cells(HTMLExporter):
    """nbconvert's exporter with the site's template and prose."""

    def __init__(self, prose: Prose) -> None:
        self.prose = prose
        super().__init__(
            template_name="basic",
            template_file="cells.html.j2",
            exclude_input_prompt=True,
            exclude_output_prompt=True,
            extra_loaders=[FileSystemLoader(ASSETS)],
            filters={"alternative": partial(alternative, prose)},
        )

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        cell = context.get("cell", {})
        return self.prose.render(source, cell.get("attachments"))


def alternative(prose: Prose, output: Any, kind: str) -> str:
    """The alternative text of a picture: its own, else the section in which it stands."""
    own = output.get("metadata", {}).get(kind, {}).get("alt")
    section = prose.headings[-1][2] if prose.headings else ""
    return own or (f"Picture in the section {section}" if section else "Picture")


def rendered(nb: Any, prose: Prose) -> str:
    """The cells of a notebook as sanitised HTML; the headings are then in `prose`."""
    body, _ = _Cells(prose).from_notebook_node(nb, resources={"metadata": {"path": str(prose.folder)}})
    return sanitised(body)


def first_picture(nb: Any) -> tuple[str, str] | None:
    """(data address, alternative text) of the picture that stands for a lesson: the first of a cell tagged `headline`,
    else of any cell."""
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    for cell in sorted(cells, key=lambda cell: "headline" not in notebooks.tags(cell)):
        for output in cell.outputs:
            picture = output.get("data", {}).get("image/png")
            if picture:
                text = output.get("metadata", {}).get("image/png", {}).get("alt", "")
                return f"data:image/png;base64,{picture.strip()}", text
    return None
