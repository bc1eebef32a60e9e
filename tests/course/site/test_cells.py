"""From cells to HTML that is safe to open: what could do harm is gone, formulas are set, pictures have words."""

from pathlib import Path

import nbformat
import pytest

from kdlib.course.site import cells
from kdlib.course.site.cells import Prose, rendered, sanitised
from kdlib.course.site.formulas import mathml

HARMFUL = {
    "handler": '<img src="x" onerror="hacked()">',
    "handler on data": '<img src="data:image/png;base64,AAAA" onerror="hacked()">',
    "svg": '<svg onload="hacked()"><circle r="1"/></svg>',
    "svg in an image": '<svg><image href="https://example.org/x.png" onerror="hacked()"/></svg>',
    "frame": '<iframe srcdoc="<script>hacked()</script>"></iframe>',
    "address": '<a href="javascript:hacked()">go</a>',
    "address with a tab": '<a href="java\tscript:hacked()">go</a>',
    "data address": '<a href="data:text/html,<script>hacked()</script>">go</a>',
    "script": "<script>hacked()</script>",
    "script from elsewhere": '<script src="https://example.org/hacked.js"></script>',
    "style sheet from elsewhere": '<link rel="stylesheet" href="https://example.org/hacked.css">',
    "object": '<object data="https://example.org/hacked"></object>',
    "form": '<form action="https://example.org/hacked"><button>go</button></form>',
    "base": '<base href="https://example.org/hacked">',
    "refresh": '<meta http-equiv="refresh" content="0; url=https://example.org/hacked">',
    "picture from elsewhere": '<img src="https://example.org/hacked.png">',
    "background": '<p style="background: url(https://example.org/hacked.png)">text</p>',
    "math": '<math><mtext><table><mglyph><style><img src=x onerror="hacked()"></style></mglyph></table></mtext></math>',
    "folded": '<details ontoggle="hacked()" open><summary>s</summary>x</details>',
}


def notebook(*parts):
    return nbformat.v4.new_notebook(cells=list(parts))


def output(data, metadata=None):
    found = nbformat.v4.new_output("display_data", data=data, metadata=metadata or {})
    return nbformat.v4.new_code_cell("1", outputs=[found])


def html(nb, pages=lambda url: None):
    return rendered(nb, Prose(Path("nowhere"), pages))


@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
def test_what_could_do_harm_does_not_reach_the_page(harm):
    """A notebook may come from anybody; the page that shows it is opened without a thought."""
    text = nbformat.v4.new_markdown_cell(f"# Title\n\n{harm}\n\nafter")
    body = html(notebook(text, output({"text/markdown": harm}), output({"text/html": harm}))).lower()
    for part in ("hacked", "<script", "<iframe", "<svg", "<object", "<form", "<base", "<meta", "<link", "example.org"):
        assert part not in body, body
    assert "title" in body and "after" in body


def test_javascript_and_widgets_are_left_out():
    data = {"application/javascript": "hacked()", "application/vnd.jupyter.widget-view+json": {"model_id": "hacked"}}
    assert "hacked" not in html(notebook(output(data)))


def test_a_picture_of_svg_is_shown_as_data_where_no_script_runs():
    body = html(notebook(output({"image/svg+xml": '<svg onload="hacked()"></svg>'})))
    assert 'src="data:image/svg+xml;base64,' in body and "hacked" not in body


def test_what_a_slider_of_frames_needs_is_kept():
    slider = (
        "<style>.f #f-0:checked ~ .f-0 { display: block }</style><div class='f'><input type='radio' name='f' id='f-0' checked "
        "aria-label='tau = 1'><label for='f-0'>1</label><img class='f-0' alt='tau = 1' src='data:image/png;base64,AAAA'></div>"
    )
    body = sanitised(slider)
    for part in (
        ".f #f-0:checked ~ .f-0",
        'type="radio"',
        'aria-label="tau = 1"',
        'for="f-0"',
        'src="data:image/png;base64,AAAA"',
    ):
        assert part in body, body


@pytest.mark.parametrize(
    ("tex", "part"),
    [
        (r"\lVert x \rVert_2", "&#x02016;"),
        (r"\big\lVert x \big\rVert_2", "‖"),
        (r"\Bigl\lfloor \tfrac12 \Bigr\rfloor", "⌊"),
        (r"\bigl\{ x \bigr\}", ">{<"),
        (r"\arg\max_k \mathbb{1}[k]", "𝟙"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "<mtable"),
        (r"\operatorname*{argmin}_\theta L", "<msub>"),
        (r"\hat{\boldsymbol{\theta}}", "bold"),
        (r"\mathcal L = \mathbb E_\eta", "&#x02112;"),
        (r"\mathbb E_\eta", "&#x1D53C;"),
        (r"-\log p_y", '<mi>log</mi><mspace width="0.167em" />'),
        (r"q \log (q/p)", '<mi>q</mi><mspace width="0.167em" /><mi>log</mi><mo'),
        (r"\bar d \pm t", "<mo>&#x000B1;</mo>"),
        (r"|a| < 1", '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>'),
        (
            r"\Big(\frac12\Big)^2",
            '<mo stretchy="true" symmetric="true" minsize="1.623em" maxsize="1.623em">)</mo><msup>',
        ),
        ("a < b", "&#x0003C;"),
    ],
)
def test_formulas_become_mathml(tex, part):
    found = mathml(tex)
    assert found.startswith("<math") and part in found and "\\" not in found


def test_a_formula_that_the_converter_does_not_know_stays_as_its_source():
    assert mathml(r"\unheardof{x} < 1") == r'<code class="tex">\unheardof{x} &lt; 1</code>'


def test_formulas_in_prose_are_set_and_survive_the_cleaning():
    body = html(notebook(nbformat.v4.new_markdown_cell("Let $a < b$, then\n\n$$\\frac{1}{2} \\le x$$")))
    assert body.count("<math") == 2 and '<math display="block"' in body and "<mfrac>" in body and "$" not in body


def test_solutions_are_folded_once():
    solution = {"tags": ["solution"]}
    nb = notebook(
        nbformat.v4.new_code_cell("answer = 42", metadata=solution),
        nbformat.v4.new_markdown_cell("<details><summary>Solution 1</summary>\n\n42\n\n</details>", metadata=solution),
    )
    body = html(nb)
    assert body.count("<details") == 2 and body.index("<details") < body.index("answer")


def test_an_output_keeps_folded_what_it_folds():
    """The answer of a predict exercise is Markdown inside <details>, with blank lines in it."""
    text = "<details><summary>open</summary>\n\nthe *answer*\n\n- one\n\n</details>"
    body = html(notebook(output({"text/markdown": text})))
    inside = body[body.index("<details>") : body.index("</details>")]
    assert "<em>answer</em>" in inside and "<li>one</li>" in inside


def test_every_picture_has_words():
    told = output({"image/png": "AAAA"}, {"image/png": {"alt": 'accuracy "against" f'}})
    nb = notebook(
        nbformat.v4.new_markdown_cell("## 2 · The experiment · 4 minutes"), told, output({"image/png": "BBBB"})
    )
    body = html(nb)
    assert 'alt="accuracy &quot;against&quot; f"' in body and 'alt="Picture in the section 2 · The experiment"' in body
    assert cells.first_picture(nb) == ("data:image/png;base64,AAAA", 'accuracy "against" f')
    nb.cells[2].metadata["tags"] = ["headline"]
    assert cells.first_picture(nb) == ("data:image/png;base64,BBBB", "")
    assert cells.first_picture(notebook()) is None


def test_links_lead_to_pages_of_the_site_or_are_text():
    text = "[next](01_x.ipynb#part) [web](https://example.org/) [file](../README.md)"
    pages = {"01_x.ipynb#part": "01_x.html#part"}.get
    body = html(notebook(nbformat.v4.new_markdown_cell(text)), pages)
    assert '<a href="01_x.html#part">next</a>' in body and '<a href="https://example.org/">web</a>' in body
    assert "README" not in body and "file" in body


def test_headings_have_anchors_of_their_own():
    prose = Prose(Path("nowhere"), lambda url: None)
    body = rendered(notebook(nbformat.v4.new_markdown_cell("## 1 · A part · 5 minutes\n\n## Same\n\n## Same")), prose)
    assert prose.headings == [(2, "1-·-A-part-·-5-minutes", "1 · A part"), (2, "Same", "Same"), (2, "Same-2", "Same")]
    assert all(f'id="{anchor}"' in body for _, anchor, _ in prose.headings)
