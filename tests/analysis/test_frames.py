"""A slider without a script: every frame is there, one is shown, and it is no larger than the course allows."""

from __future__ import annotations

import base64
import io
import re

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from kdlib.analysis.plots import frames


def draw(value: float) -> Figure:
    figure, axis = plt.subplots(figsize=(2, 1))
    axis.plot([0, 1], [0, value])
    axis.set(xlabel="time (s)", ylabel="way <m>")
    return figure


def test_each_value_has_a_button_a_picture_and_a_rule() -> None:
    page = frames.slider(draw, [0, 0.5, 1], name="centre", start=2)
    assert page.count('type="radio"') == page.count("<img") == 3
    assert re.findall(r'id="(\S+)" checked', page) == ["frames-centre-2"]
    assert 'alt="centre = 0.5: Chart of way &lt;m&gt; against time (s)."' in page
    assert ".frames-centre:has(#frames-centre-1:checked) .frames-centre-1" in page
    hidden = [tag for tag in re.findall(r"<img[^>]*>", page) if 'style="display:none"' in tag]
    assert len(hidden) == 2 and not any('class="frames-centre-2"' in tag for tag in hidden), "where styles are dropped"
    assert "<script" not in page and " on" not in re.sub(r"base64,[^\"]*", "", page).lower()
    pictures = [Image.open(io.BytesIO(base64.b64decode(p))) for p in re.findall(r"base64,([^\"]+)", page)]
    assert len({picture.tobytes() for picture in pictures}) == 3, "frames differ"
    assert not plt.get_fignums(), "frames are closed"


def test_pictures_stand_in_a_block_below_the_buttons() -> None:
    """Without its style sheet, as in a JupyterLab that does not trust the notebook, too; no button leaves its value."""
    page = re.sub(r"<style>.*?</style>", "", frames.slider(draw, [0, 1], name="centre"))
    choice = r"(?:<span style=.white-space:nowrap.><input[^>]*><label.*?</label></span> ?)+"
    assert re.fullmatch(f'<div class="frames-centre">centre: {choice}<div>.*</div></div>', page)
    buttons, pictures = page.split("<div>")
    assert "<img" not in buttons and "<input" not in pictures


def test_a_colour_means_the_same_in_all_frames() -> None:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("#cc0000", "#0000cc"))
    both = Image.new("RGB", (8, 4), "#cc0000")
    both.paste(blue, (4, 0))
    shown = [Image.open(io.BytesIO(base64.b64decode(a.split(",")[1]))) for a in frames.addresses([red, blue, both], 4)]
    colours = [{picture.convert("RGB").getpixel((x, 0)) for x in range(picture.width)} for picture in shown]
    assert colours[0] | colours[1] == colours[2] and len(colours[2]) == 2


def test_names_are_escaped() -> None:
    page = frames.slider(draw, [1], name="a<b")
    assert "a<b" not in page and "a&lt;b" in page


def test_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="draw fewer"):
        frames.slider(draw, [0, 1], name="centre")
