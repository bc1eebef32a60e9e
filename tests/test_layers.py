"""The floor plan: a folder imports only from folders below it, and the package stays small enough to survey."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    "utils", "data", "models", "losses", "scorers", "selection", "theory", "training", "imagenet", "store", "experiments",
    "analysis", "course", "cli",
)  # fmt: skip
FILES = sorted((ROOT / "kdlib").rglob("*.py"))
ALL_FILES = sorted(path for folder in ("kdlib", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 350, 40


def named(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("kdlib")


def test_every_folder_has_its_place() -> None:
    there = {path.name for path in (ROOT / "kdlib").iterdir() if path.name != "__pycache__"}
    assert there == {*LAYERS, "__init__.py", "__main__.py"} and len(there) <= 16


@pytest.mark.parametrize("place", range(len(LAYERS)))
def test_no_folder_imports_from_one_above_it(graph: grimp.ImportGraph, place: int) -> None:
    for above in LAYERS[place + 1 :]:
        chains = graph.find_shortest_chains(f"kdlib.{LAYERS[place]}", f"kdlib.{above}", as_packages=True)
        assert not chains, f"{LAYERS[place]} imports from {above}: {sorted(chains)[0]}"


def test_no_modules_import_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    """Imports for type hints alone count, too."""
    below = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(list(graphlib.TopologicalSorter(below).static_order())) == len(below)


def test_importing_the_package_imports_nothing(graph: grimp.ImportGraph) -> None:
    assert not graph.find_modules_directly_imported_by("kdlib"), "names are imported on first use"


@pytest.mark.parametrize("file", ALL_FILES, ids=named)
def test_files_and_functions_can_be_surveyed(file: Path) -> None:
    text = file.read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    lines = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno}
    assert not {name: count for name, count in lines.items() if count > LONGEST_FUNCTION}
    assert text.count("\n") <= LONGEST_FILE


@pytest.mark.parametrize("file", FILES, ids=named)
def test_an_import_inside_a_function_says_why(file: Path) -> None:
    """Imports stand at the top, but for what an optional package or a quick `--help` asks for; the reason stands beside."""
    text = file.read_text()
    lines, found = text.splitlines(), set()
    for function in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)):
        found |= {n.lineno for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)}
    blocks = {line for line in found if line - 1 not in found}  # imports in a row have one reason
    assert not [
        line for line in blocks if "#" not in lines[line - 1] + lines[line - 2] and "try:" not in lines[line - 2]
    ]


def test_tests_lie_as_the_package_does() -> None:
    own = {"reference", "fixtures"}  # what the tests compare with
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert not [folder for folder in folders if not (ROOT / "kdlib" / folder).is_dir() and folder.parts[0] not in own]
