"""What a figure shows, in words: the text that stands for a picture where it cannot be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LONGEST = 400  # characters; a longer text tires who listens


def describe(figure: Figure) -> str:
    """One sentence from the figure's own titles, axis labels and legends, such as
    `Chart of accuracy (%) against kept fraction f; shown: random, forgetting.`

    Panels that say the same are named once. A text of more than `LONGEST` characters is cut at a word.
    """
    panels = list(dict.fromkeys(text for axis in figure.axes if axis.get_visible() for text in _panel(axis)))
    names = list(dict.fromkeys(_plain(name) for name in _legends(figure) if name))
    titles = [_plain(figure.get_suptitle())] if figure.get_suptitle() else []
    told = "; ".join([*titles, *panels]) or "samples"
    kind = "Chart" if any(axis.lines or axis.patches or axis.collections for axis in figure.axes) else "Picture"
    shown = f"; shown: {', '.join(names)}" if names else ""
    text = f"{kind} of {told}{shown}."
    return text if len(text) <= LONGEST else text[: LONGEST - 4].rsplit(" ", 1)[0] + " ..."


def _panel(axis: Axes) -> Iterator[str]:
    """What a panel plots, after its title if it has one; nothing for a panel without any text."""
    across, up, title = (_plain(text) for text in (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()))
    plotted = f"{up} against {across}" if up and across else up or across
    text = ": ".join(part for part in (title, plotted) if part)
    if text:
        yield text


def _legends(figure: Figure) -> Iterator[str]:
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes)]
    for legend in legends:
        if legend is not None:
            yield from (text.get_text() for text in legend.get_texts())


def _plain(text: str) -> str:
    """Without mathematical markup and line breaks: `$\\tau$ = 4` becomes `tau = 4`."""
    return " ".join(re.sub(r"[$\\{}]", "", text).split())
