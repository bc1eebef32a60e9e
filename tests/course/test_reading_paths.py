"""The page for readers and lecturers: its links lead somewhere, and what it names exists."""

import re
from pathlib import Path

from kdlib.course import lessons, notebooks

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def sections(name):
    """The numbers of the sections of a lesson."""
    nb = notebooks.read(lessons.find(name))
    return {int(n) for cell in nb.cells for n in re.findall(r"(?m)^## (\d+) · ", cell.source)}


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#\s]+)\)", PAGE)
    assert links and all((FOLDER / link).is_file() for link in links)


def test_the_sections_it_sends_readers_to_exist():
    named = re.findall(r"\[Lesson (\d\d)\][^:]*?, sections (\d+) (to|and) (\d+)", PAGE)
    assert len(named) == 3
    for lesson, first, word, last in named:
        wanted = set(range(int(first), int(last) + 1)) if word == "to" else {int(first), int(last)}
        assert wanted <= sections(lesson)


def test_the_blocks_of_the_semester_hold_each_lesson_once():
    table = PAGE[PAGE.index("| block of the semester") :].split("\n\n")[0]
    named = [n for line in table.splitlines()[2:] for n in re.findall(r"\b\d\d\b", line.split("|")[2])]
    assert sorted(named) == [f"{n:02}" for n in range(17)]
    assert {name.split("_")[0] for name in lessons.names()} <= set(named)
