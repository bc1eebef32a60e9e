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
from collections.abc import Callable, Iterable, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from kdlib.analysis.plots.alt import describe

MOST_BYTES = 2**20  # of one slider, as the course allows
HIDDEN = ' style="display:none"'


def drawn(figure: Figure) -> Image.Image:
    """The figure as a picture, at its own dpi and full size."""
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=figure.dpi)
    return Image.open(full).convert("RGB")


def addresses(frames: Sequence[Image.Image], colours: int) -> list[str]:
    """The frames as data addresses of PNGs; they share `colours` colours, so that a colour means the same in all."""
    strip = Image.new("RGB", (max(frame.width for frame in frames), sum(frame.height for frame in frames)), "white")
    for k, frame in enumerate(frames):
        strip.paste(frame, (0, sum(other.height for other in frames[:k])))
    palette, found = strip.quantize(colours), []
    for frame in frames:
        small = io.BytesIO()
        frame.quantize(palette=palette, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
        found.append("data:image/png;base64," + base64.b64encode(small.getvalue()).decode())
    return found


def slider(
    draw: Callable[[float], Figure], values: Iterable[float], *, name: str, start: int = 0, colours: int = 16
) -> str:
    """HTML that shows `draw(value)` for the value chosen; `name` labels the choice, frame number `start` is shown first.

    Raises ValueError when the frames together are larger than `MOST_BYTES`.
    """
    group = "frames-" + "".join(c if c.isalnum() else "-" for c in name.lower())
    buttons, frames, told, rules = [], [], [], []
    for k, value in enumerate(values):
        figure, text = draw(value), html.escape(f"{name} = {value:g}")
        buttons.append(
            f'<span style="white-space:nowrap"><input type="radio" name="{group}" id="{group}-{k}"'
            f'{" checked" if k == start else ""} aria-label="{text}"><label for="{group}-{k}">{value:g}</label></span>'
        )
        frames.append(drawn(figure))
        told.append(f"{text}: {html.escape(describe(figure))}")
        rules.append(f".{group}:has(#{group}-{k}:checked) .{group}-{k}")
        plt.close(figure)
    pictures = [
        f'<img class="{group}-{k}" alt="{alt}"{HIDDEN if k != start else ""} src="{address}">'
        for k, (alt, address) in enumerate(zip(told, addresses(frames, colours), strict=True))
    ]
    style = (
        f"<style>.{group} img {{ display: none !important; max-width: 100% }} "
        f"{', '.join(rules)} {{ display: block !important }} "
        f".{group} label {{ margin-right: .4em }} "
        f"@media print {{ .{group} input, .{group} span:not(:has(:checked)) {{ display: none }} }}</style>"
    )
    choice = f"{html.escape(name)}: {' '.join(buttons)}"
    page = f'{style}<div class="{group}">{choice}<div>{"".join(pictures)}</div></div>'
    if len(page) > MOST_BYTES:
        raise ValueError(f"the frames take {len(page)} bytes, more than {MOST_BYTES}; draw fewer or with fewer colours")
    return page
