"""A slider that needs neither a kernel nor a script: frames drawn beforehand, one radio button for each.

The arrow keys move between radio buttons of one group, and a style sheet shows the frame of the one that is chosen,
so the same output works in a notebook, on the site and in any other page. JupyterLab drops style sheets from a notebook
that it does not trust yet; there the first frame stands alone, since the others are also hidden by their own attribute,
and below the buttons, since the frames have a block of their own.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from kdlib.analysis.plots.alt import describe

MOST_BYTES = 2**20  # of one slider, as the course allows
JOINED = "&#8288;"  # a word joiner: no line ends between a button and its value


def frame(figure: Figure, colours: int) -> str:
    """The figure as a data address of a PNG with `colours` colours, at its own dpi and full size."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=figure.dpi)
    Image.open(full).convert("RGB").quantize(colours).save(small, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()


def slider(
    draw: Callable[[float], Figure], values: Iterable[float], *, name: str, start: int = 0, colours: int = 16
) -> str:
    """HTML that shows `draw(value)` for the value chosen; `name` labels the choice, frame number `start` is shown first.

    Raises ValueError when the frames together are larger than `MOST_BYTES`.
    """
    group = "frames-" + "".join(c if c.isalnum() else "-" for c in name.lower())
    buttons, pictures, rules = [], [], []
    for k, value in enumerate(values):
        figure, text = draw(value), html.escape(f"{name} = {value:g}")
        buttons.append(
            f'<input type="radio" name="{group}" id="{group}-{k}"{" checked" if k == start else ""} '
            f'aria-label="{text}">{JOINED}<label for="{group}-{k}">{value:g}</label>'
        )
        hidden = "" if k == start else ' style="display:none"'
        told = f"{text}: {html.escape(describe(figure))}"
        pictures.append(f'<img class="{group}-{k}" alt="{told}"{hidden} src="{frame(figure, colours)}">')
        rules.append(f".{group} #{group}-{k}:checked ~ div .{group}-{k}")
        plt.close(figure)
    style = (
        f"<style>.{group} img {{ display: none !important; max-width: 100% }} "
        f"{', '.join(rules)} {{ display: block !important }} "
        f".{group} label {{ margin-right: .4em }}</style>"
    )
    choice = f"{html.escape(name)}: {' '.join(buttons)}"
    page = f'{style}<div class="{group}">{choice}<div>{"".join(pictures)}</div></div>'
    if len(page) > MOST_BYTES:
        raise ValueError(f"the frames take {len(page)} bytes, more than {MOST_BYTES}; draw fewer or with fewer colours")
    return page
