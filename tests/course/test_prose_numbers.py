"""No number is typed by hand into a lesson's prose: what was measured is worded by code, next to the measurement.

Numbers are allowed in formulas, code, parameters (a code cell), references, tables of run times and in names such as
"Eq. 2", "section 7" or "lesson 02".
"""

import re
from pathlib import Path

import pytest

from kdlib.course import notebooks

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
LESSONS = sorted(path.stem for path in FOLDER.glob("[01]*.ipynb"))

NOT_PROSE = [
    r"(?s)```.*?```",
    r"`[^`]+`",
    r"(?s)\$\$.*?\$\$",
    r"\$[^$]+\$",
    r"\]\([^)]*\)",
    r"<[^>]+>",
    r"(?m)^#+ \d+[a-z]? · ",  # numbers of lessons and sections
    r"(?m) · \d+ minutes?$",  # time marks of headings
    r"\b95% (?:confidence )?intervals?\b",  # a convention of the course, not a result
    r"\b\d-D\b",
    r"\bet al\.,? \d{4}\b",  # a source
]
NUMBER = r"\d+(?:\.\d+)?"
STANDING_ALONE = r"(?<![A-Za-z\d])(?<![A-Za-z]-)" + NUMBER  # neither EL2N nor ResNet-20
NAMED = (
    r"(?i)\b(?:eqs?|equations?|secs?|sections?|figs?|figures?|tables?|theorems?|lemmas?|definitions?|exercises?|solutions?|lessons?|"
    r"parts?|step|claims?)\.?\s+" + NUMBER + r"(?:(?: and| to| or)\s+" + NUMBER + r"\b(?!%))*"
)


def typed_numbers(source: str) -> list[str]:
    """The numbers in a Markdown cell that a program cannot explain, each with its surroundings."""
    if re.search(r"(?m)^#+ References\b|^\*\*References", source):
        return []
    blocks = re.split(r"\n\s*\n", source)
    text = "\n\n".join(b for b in blocks if not (b.lstrip().startswith("|") and "run time" in b.splitlines()[0]))
    for pattern in [*NOT_PROSE, NAMED]:
        text = re.sub(pattern, " ", text)
    return [text[max(0, m.start() - 30) : m.end() + 10] for m in re.finditer(STANDING_ALONE, text)]


@pytest.mark.parametrize(
    "source",
    [
        "accuracy rises by 3 points",
        "a share of 12%",
        "| f | accuracy |\n|---|---|\n| small | 91.6 |",
        "Eq. 2 gives 0.5 more",
        "in section 7, 40 samples",
        "of 20,000 problems",
        "**What we see.** $x$ = 3",
        "1. the first of 5 seeds",
        "falls by -3 points",
        "a ResNet with 20 layers",
    ],
)
def test_typed_numbers_are_found(source):
    assert typed_numbers(source)


@pytest.mark.parametrize(
    "source",
    [
        "# 00 · Start here\n\n## 3 · A loop · 9 minutes",
        "Eq. 1 and 2 of the paper, its Fig. 2, Sec. 3.3, Theorem 1, lesson 02, Exercise 3 (open)",
        "at $\\lambda = 1$ and\n\n$$x^2 + 3$$\n\nwith `alpha = 0.5`",
        "| preset | run time on 2 cores |\n|---|---|\n| `smoke` | 20 s |",
        "## References\n\n1. A. Author. 2015. arXiv:2403.07854",
        "Each band is a 95% interval over seeds; a toy of 2-D points",
        "EL2N (Paul et al. 2021, Definition 2.2) of a ResNet-20 on CIFAR-100",
        '<img width="300"> [lesson 03](03_kd_on_pruned_data.ipynb)',
    ],
)
def test_other_numbers_are_not(source):
    assert typed_numbers(source) == []


@pytest.mark.parametrize("name", LESSONS)
def test_no_lesson_has_typed_numbers(name):
    nb = notebooks.read(FOLDER / f"{name}.ipynb")
    found = [hit for cell in nb.cells if cell.cell_type == "markdown" for hit in typed_numbers(cell.source)]
    assert not found, found
