"""Notebook files: their parameters, the clean form that is kept in git, and the copy for students.

Everything here is a function of a notebook (an `nbformat.NotebookNode`); nothing is executed.
"""

from __future__ import annotations

import ast
import base64
import copy
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdlib.utils.errors import choose
from kdlib.utils.files import write_whole
from kdlib.utils.pictures import in_few_colours
from kdlib.utils.values import literal, split_commas

if TYPE_CHECKING:  # nbformat is imported where it is used: the command line's help is to be quick
    from nbformat import NotebookNode

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
ADDED_BY_PAPERMILL = {"injected-parameters", "papermill-error-cell-tag"}
TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


def read(path: str | Path) -> NotebookNode:
    """The notebook in a file, as nbformat 4. Raises ValueError for a file that is no notebook."""
    import nbformat  # 1.6 s

    try:
        return nbformat.read(str(path), as_version=4)
    except (ValueError, AttributeError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} is no notebook; name a .ipynb file that Jupyter opens") from error


def write(nb: NotebookNode, path: str | Path) -> Path:
    """Write a notebook so that a reader meets the old file or the new one, never half of one."""
    import nbformat  # 1.6 s

    path = Path(path)
    write_whole(path, nbformat.writes(nb) + "\n")
    return path


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def title(nb: NotebookNode) -> str:
    """The first heading."""
    lines = (line for cell in nb.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")


# ------------------------------------------------------------------------------------ the clean form


def clean(nb: NotebookNode, *, keep_injected: bool = False) -> NotebookNode:
    """A copy of an executed notebook without anything that changes from run to run.

    Cell ids follow from the cells' sources, execution counts are 1..n, stdout is one piece, and stderr,
    widgets, times and papermill's notes are gone: a rerun with equal results has an empty diff, and
    `clean(clean(nb)) == clean(nb)`.
    `keep_injected` keeps papermill's cell of given parameters.
    """
    import nbformat  # 1.6 s

    dropped = ADDED_BY_PAPERMILL - ({"injected-parameters"} if keep_injected else set())
    cells = [_clean_cell(cell) for cell in nb.cells if not dropped & set(tags(cell))]
    _number(cells)
    return nbformat.from_dict(
        {
            "cells": cells,
            "metadata": {"kernelspec": dict(KERNELSPEC), "language_info": {"name": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


def _clean_cell(cell: NotebookNode) -> dict[str, Any]:
    kept: dict[str, Any] = {"cell_type": cell.cell_type, "source": cell.source, "metadata": {}}
    if tags(cell):
        kept["metadata"]["tags"] = tags(cell)
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        kept["metadata"]["jupyter"] = {"source_hidden": True}
    if cell.get("attachments"):
        kept["attachments"] = copy.deepcopy(cell.attachments)
    if cell.cell_type == "code":
        kept["outputs"] = _clean_outputs(cell.outputs)
    return kept


def _clean_outputs(outputs: Iterable[NotebookNode]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if kept and kept[-1]["output_type"] == "stream":
                kept[-1]["text"] += output.text
                continue
        elif any("jupyter.widget" in mime for mime in output.get("data", {})) or output.get("data") == {
            "text/plain": ""
        }:
            continue  # a widget, or a line of progress that is over
        plain = copy.deepcopy(dict(output))
        plain.pop("transient", None)
        if "image/png" in plain.get("data", {}):
            plain["data"]["image/png"] = _small_png(plain["data"]["image/png"])
        if "metadata" in plain:
            plain["metadata"] = _alternative_texts(plain["metadata"])
        kept.append(plain)
    return kept


def _alternative_texts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What an output says in words about its pictures, which is all that is kept of its metadata."""
    return {kind: {"alt": m["alt"]} for kind, m in metadata.items() if kind.startswith("image/") and "alt" in m}


def _small_png(encoded: str) -> str:
    """A picture of a notebook in 256 colours."""
    return base64.b64encode(in_few_colours(io.BytesIO(base64.b64decode(encoded)))).decode()


def _number(cells: list[dict[str, Any]]) -> None:
    """Give every cell an id that depends on its source alone, and code cells the counts 1..n."""
    seen: dict[str, int] = {}
    count = 0
    for cell in cells:
        digest = hashlib.sha256(f"{cell['cell_type']}\n{cell['source']}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        if cell["cell_type"] == "code":
            ran = bool(cell["source"].strip())
            count += ran
            cell["execution_count"] = count if ran else None
            for output in cell["outputs"]:
                if output["output_type"] == "execute_result":
                    output["execution_count"] = count


def student_copy(nb: NotebookNode) -> NotebookNode:
    """The notebook without solutions (cells tagged `solution`) and outputs, which give answers away."""
    student = clean(nb)
    student.cells = [cell for cell in student.cells if "solution" not in tags(cell)]
    for cell in student.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return student


# ------------------------------------------------------------------------------------ parameters


def parameters(nb: NotebookNode) -> dict[str, dict[str, Any]]:
    """What the cell tagged `parameters` declares: name -> {"type": "int", "default": 3, "help": "..."}.

    Read from the syntax tree, because papermill's own inspection silently drops lines it cannot parse.
    Raises ValueError if the cell is not Python or a default is not a literal.
    """
    source = next((cell.source for cell in nb.cells if "parameters" in tags(cell)), "")
    declared = {}
    try:
        statements = ast.parse(source).body
    except SyntaxError as problem:
        raise ValueError(f"the parameters cell cannot be read: {problem.msg} in its line {problem.lineno}") from None
    for node in statements:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        name = ast.unparse(target)
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise ValueError(f"the default of parameter {name!r} must be a literal") from None
        kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else type(default).__name__
        last_line = source.splitlines()[(node.end_lineno or node.lineno) - 1].encode()[node.end_col_offset or 0 :]
        help_text = last_line.decode().strip().lstrip("# ")
        declared[name] = {"type": kind.split("[")[0], "default": default, "help": help_text}
    return declared


def check_parameters(given: Mapping[str, Any], declared: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """`given`, if each name is declared and each value has its type (an int may stand for a float).

    Raises ValueError with one line that names the nearest and all valid parameters, or the type expected.
    """
    if given and not declared:
        raise ValueError(f"unknown parameter {next(iter(given))!r}; this notebook has no parameters")
    checked = {}
    for name, value in given.items():
        kind = choose("parameter", name, declared)["type"]
        if kind == "float" and type(value) is int:
            value = float(value)
        if kind == "list" and isinstance(value, tuple):
            value = list(value)
        if kind in TYPES and type(value) is not TYPES[kind]:
            raise ValueError(f"parameter {name!r} must be {kind}, not {type(value).__name__} ({value!r})")
        checked[name] = value
    return checked


def parse_parameter(name: str, text: str, declared: Mapping[str, dict[str, Any]]) -> Any:
    """A parameter's value from the command line: `3`, `0.5`, `smoke`, `true`, or `0,1,2` for a list."""
    kind = choose("parameter", name, declared)["type"]
    if kind == "str":
        return text
    if kind == "list":
        return [literal(part) for part in split_commas(text.removeprefix("[").removesuffix("]"))]
    return check_parameters({name: literal(text)}, declared)[name]
