"""The floor plan: a folder imports only from folders below it, and the package stays small enough to survey."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    "utils", "data", "models", "losses", "scorers", "selection", "theory", "training", "imagenet", "store", "experiments",
    "analysis", "course", "cli",
)  # fmt: skip
FILES = sorted((ROOT / "kdlib").rglob("*.py"))


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


def test_importing_the_package_imports_nothing(graph: grimp.ImportGraph) -> None:
    assert not graph.find_modules_directly_imported_by("kdlib"), "names are imported on first use"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_functions_fit_on_a_screen(file: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno and f.end_lineno - f.lineno >= 40}
    assert not long
