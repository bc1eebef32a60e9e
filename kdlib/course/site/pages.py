"""Pages of the site: each is one file that needs no other, with its style and script written into it."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pygments.formatters import HtmlFormatter

from kdlib import __version__
from kdlib.course.site.cells import ASSETS

SITE = "Knowledge distillation on pruned data"
CODE_STYLES = {"": "xcode", "dark": "monokai"}  # colours with a contrast of at least 4.5 on the page's two backgrounds


@dataclass(frozen=True)
class Around:
    """What stands around a page's content: its file, the site's pages as (name, file), neighbours, titles for the search."""

    here: str = ""
    navigation: Sequence[tuple[str, str]] = ()
    titles: Sequence[tuple[str, str]] = ()
    before: tuple[str, str] | None = None
    after: tuple[str, str] | None = None


def page(
    title: str,
    body: str,
    around: Around = Around(),  # noqa: B008 - frozen
    contents: Sequence[tuple[int, str, str]] = (),
    pictures: str = "data:",
) -> str:
    """A whole HTML page. `body` is trusted HTML; `contents` (level, anchor, text) becomes the list beside it.

    The page's own policy lets a browser load nothing but the pictures that are written into it (`pictures` names other
    places for them) and run no script but the site's.
    """
    script = (ASSETS / "site.js").read_text(encoding="utf-8")
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            title=title,
            site=SITE,
            body=Markup(body),
            contents=[entry for entry in contents if entry[0] in (2, 3)],
            policy=Markup(_policy(script, pictures)),
            style=Markup(_style()),
            script=Markup(script),
            titles=Markup(json.dumps(around.titles, ensure_ascii=False).replace("<", "\\u003c"))
            if around.titles
            else "",
            home="index.html" if around.navigation else "#content",
            version=__version__,
            **{name: getattr(around, name) for name in ("here", "navigation", "before", "after")},
        )
    )


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A template of the assets with these values; text in them is escaped, `Markup` is not."""
    return _templates().get_template(template).render(**values)


@functools.cache
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)


def _policy(script: str, pictures: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src {pictures}; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _style() -> str:
    """The style sheet, with the colours of code in light and dark."""
    light, dark = (HtmlFormatter(style=CODE_STYLES[key]).get_style_defs(".highlight") for key in ("", "dark"))
    chosen = HtmlFormatter(style=CODE_STYLES["dark"]).get_style_defs(':root[data-theme="dark"] .highlight')
    by_system = f"@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme='light']) {{ {dark} }} }}"
    sheet = (ASSETS / "site.css").read_text(encoding="utf-8")
    return "\n".join([light, by_system, f"@media screen {{ {chosen} }}", sheet])
