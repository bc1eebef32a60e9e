"""The API reference: public names with their signatures and docstrings, read from the source without importing it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

PACKAGE = Path(__file__).parents[2]
FOLDERS = (
    "data", "models", "losses", "scorers", "selection", "theory", "training", "imagenet", "experiments", "store",
    "analysis", "course", "utils",
)  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Entry:
    """A public function, class, method or table: its anchor, its signature and its docstring as HTML."""

    anchor: str
    signature: str
    text: Markup


@dataclass(frozen=True)
class Module:
    """A module: its dotted name, the first sentence of its docstring, the whole docstring, its entries."""

    name: str
    summary: Markup
    text: Markup
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Folder:
    """A folder of the package: its name, the docstring of its `__init__.py`, its modules."""

    name: str
    text: Markup
    modules: tuple[Module, ...]


def folders(package: Path = PACKAGE) -> list[Folder]:
    """The folders of the package in the order of the floor plan, science first; modules without public names are left out."""
    found = []
    for name in FOLDERS:
        tree = ast.parse((package / name / "__init__.py").read_text(encoding="utf-8"))
        files = sorted((package / name).rglob("*.py"))
        modules = [module for file in files if (module := _module(file, package)).entries]
        found.append(Folder(f"kdlib.{name}", as_html(ast.get_docstring(tree) or ""), tuple(modules)))
    return found


def titles(found: list[Folder]) -> list[tuple[str, str]]:
    """(name, anchor) of every entry, for the search."""
    return [(entry.anchor, entry.anchor) for folder in found for module in folder.modules for entry in module.entries]


def _module(file: Path, package: Path) -> Module:
    parts = file.relative_to(package.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    first, _, rest = (ast.get_docstring(tree) or "").partition("\n\n")
    if file.parent.parent == package and parts[-1] == "__init__":  # its docstring stands above all modules
        first, rest = "The names of the package itself.", ""
    return Module(name, _inline(first), as_html(rest), tuple(_entries(tree, name)))


def _entries(tree: ast.Module, module: str) -> Iterator[Entry]:
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield _function(node, module)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _class(node, module)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _table(node, module)


def _function(node: Function, place: str, prefix: str = "") -> Entry:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = ast.unparse(node.args)
    decorated = {ast.unparse(decorator) for decorator in node.decorator_list}
    call = "" if decorated & {"property", "cached_property"} else f"({arguments})"
    return Entry(f"{place}.{node.name}", f"{prefix}{node.name}{call}{returns}", as_html(ast.get_docstring(node) or ""))


def _class(node: ast.ClassDef, module: str) -> Iterator[Entry]:
    place = f"{module}.{node.name}"
    stated = [part for part in node.body if isinstance(part, ast.AnnAssign) and not ast.unparse(part).startswith("_")]
    options = [part for part in stated if _is_option(part)]
    fields = [ast.unparse(part) for part in stated if not _is_option(part)] + (["..."] if options else [])
    bases = [ast.unparse(base) for base in node.bases]
    inside = f"({', '.join(fields or bases)})" if fields or bases else ""
    yield Entry(place, f"class {node.name}{inside}", as_html(ast.get_docstring(node) or "") + _option_table(options))
    for part in node.body:
        if isinstance(part, Function) and not part.name.startswith("_") and ast.get_docstring(part):
            yield _function(part, place, f"{node.name}.")


def _is_option(part: ast.AnnAssign) -> bool:
    """Whether a field is `option(default, help)`, as those of a run are."""
    return isinstance(part.value, ast.Call) and ast.unparse(part.value.func) == "option" and len(part.value.args) == 2


def _option_table(options: list[ast.AnnAssign]) -> Markup:
    """Fields with the sentence that the command line shows for each: name, type, default, meaning."""
    rows = [
        Markup("<tr><td><code>{}</code></td><td>{}</td><td><code>{}</code></td><td>{}</td></tr>").format(
            ast.unparse(part.target), ast.unparse(part.annotation), ast.unparse(default), _said(told)
        )
        for part in options
        if isinstance(part.value, ast.Call)
        for default, told in [part.value.args]
    ]
    head = Markup("<thead><tr><th>field</th><th>type</th><th>default</th><th>meaning</th></tr></thead>")
    table = Markup('<div class="scroll" tabindex="0"><table>{}<tbody>{}</tbody></table></div>')
    return table.format(head, Markup("").join(rows)) if rows else Markup("")


def _said(text: ast.expr) -> str:
    """A string of the source; what it fills in is left out."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def _table(node: ast.Assign | ast.AnnAssign, module: str) -> Iterator[Entry]:
    """A dict whose keys are the names that a user may write, such as LOSSES."""
    target = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
    if not (target.isupper() and isinstance(node.value, ast.Dict)):
        return
    names = [key.value for key in node.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    if names and not target.startswith("_"):
        listed = Markup(", ").join(Markup("<code>{}</code>").format(name) for name in names)
        yield Entry(f"{module}.{target}", target, Markup("<p>{}</p>").format(listed))


def as_html(text: str) -> Markup:
    """A docstring as HTML: paragraphs; lines stay apart where they are indented or list `name: meaning`."""
    return Markup("").join(_paragraph(part) for part in text.split("\n\n") if part.strip())


def _paragraph(part: str) -> Markup:
    lines = part.strip("\n").splitlines()
    if all(line.startswith(("    ", "|")) for line in lines):  # code, or a table
        return Markup("<pre>{}</pre>").format(textwrap.dedent("\n".join(lines)))
    kept = any(re.match(r"\s|[\w*, ]{1,24}:\s|- ", line) for line in lines)
    return Markup('<p class="lines">{}</p>' if kept else "<p>{}</p>").format(_inline("\n".join(lines)))


def _inline(text: str) -> Markup:
    """Escaped text, with what stands between backticks as code."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if k % 2 else escape(p) for k, p in enumerate(parts))
