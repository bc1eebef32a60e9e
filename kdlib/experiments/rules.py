"""The code that decides an outcome, as a digest: an edited loss gives another digest, an edited comment the same one.

A digest is taken of a function or class and of everything that it reaches in the scientific folders of kdlib, or, for a
function that a user registered, in the user's own module. What counts is the syntax tree without docstrings, so that
comments, formatting and the file where a function stands play no part.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
import linecache
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCIENCE = ("data", "models", "losses", "scorers", "selection", "training", "imagenet")
"""Folders of kdlib whose code decides an outcome."""


def digest(*roots: Any) -> str:
    """12 hexadecimal digits over the code that the roots reach; the order of the roots plays no part.

    A root is a function, a class, a `functools.partial`, a dataclass instance that holds such (an entry of a registry), or
    a plain value, which stands for itself.
    """
    try:
        return _digest(roots)
    except TypeError:  # a root that cannot be hashed
        return _digest.__wrapped__(roots)


@functools.lru_cache(maxsize=1024)
def _digest(roots: tuple[Any, ...]) -> str:
    texts = sorted({text for root in roots for text in _reached(root)})
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _reached(root: Any) -> frozenset[str]:
    """The normalised sources that a root reaches."""
    if isinstance(root, functools.partial):
        return _reached(root.func) | {repr((root.args, sorted(root.keywords.items())))}
    if isinstance(root, types.FunctionType | type):
        return _closure(root)
    if dataclasses.is_dataclass(root) and not isinstance(root, type):
        parts = [getattr(root, field.name) for field in dataclasses.fields(root)]
        return frozenset().union(*map(_reached, parts)) if parts else frozenset()
    if callable(root):
        return _closure(type(root))  # type: ignore[arg-type]
    return frozenset({repr(root)})


@functools.lru_cache(maxsize=4096)
def _closure(root: Any) -> frozenset[str]:
    found: dict[int, str] = {}
    constants: set[str] = set()
    waiting = [root]
    while waiting:
        item = waiting.pop()
        if id(item) in found:
            continue
        node = _tree(item)
        found[id(item)] = ast.unparse(_Bare().visit(node)) if node else _bytecode(item)
        for name, used in _used(node, item) if node else ():
            if isinstance(used, types.FunctionType | type):
                waiting += [used] if _in_scope(used, root) else []
            elif isinstance(used, int | float | str | tuple):
                constants.add(f"{name} = {used!r}")
    return frozenset(found.values()) | constants


def _in_scope(item: Any, root: Any) -> bool:
    module = getattr(item, "__module__", None) or ""
    parts = module.split(".")
    if parts[0] == "kdlib":
        return len(parts) > 1 and parts[1] in SCIENCE
    return module == root.__module__


def _used(node: ast.AST, item: Any) -> Iterator[tuple[str, Any]]:
    """What a piece of code names in its module or as an attribute of a module: functions, classes, constants."""
    space = vars(sys.modules[item.__module__]) if item.__module__ in sys.modules else {}
    space = getattr(item, "__globals__", space)
    for part in ast.walk(node):
        name, value = "", None
        if isinstance(part, ast.Name):
            name, value = part.id, space.get(part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            name, owner = part.attr, space.get(part.value.id)
            value = getattr(owner, part.attr, None) if isinstance(owner, types.ModuleType | type) else None
        if isinstance(value, functools.partial):
            value = value.func
        if value is not None:
            yield name, inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value
    yield from ((base.__name__, base) for base in getattr(item, "__bases__", ()))


class _Bare(ast.NodeTransformer):
    """Takes docstrings out of a tree, and out of a dataclass its fields and checks: their values are in the fingerprint."""

    def _without_docstring(self, node: Any) -> Any:
        self.generic_visit(node)
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            node.body = [p for p in node.body if not isinstance(p, ast.AnnAssign) and not _is_check(p)] or [ast.Pass()]
        return self._without_docstring(node)


def _is_check(part: ast.stmt) -> bool:
    return isinstance(part, ast.FunctionDef) and part.name == "__post_init__"


def _tree(item: Any) -> ast.AST | None:
    """A fresh syntax tree of a function, lambda or class; None where there is no source."""
    try:
        file = inspect.getsourcefile(item) or inspect.getfile(item)
    except TypeError:
        return None
    lines = linecache.getlines(file, getattr(item, "__globals__", None))
    if not lines:
        return None
    found = [node for node in _definitions(file, "".join(lines)) if _is(node, item)]
    return ast.parse(ast.unparse(found[-1])).body[0] if found else None  # the innermost, which is walked last


def _is(node: ast.AST, item: Any) -> bool:
    """Whether a node is the definition of a function (by its line), a lambda (by its place) or a class (by its name)."""
    if isinstance(item, type):
        return isinstance(node, ast.ClassDef) and node.name == item.__name__
    code = item.__code__
    if isinstance(node, ast.Lambda):
        places = [p for p in code.co_positions() if p[0] and p[2] is not None and p[2] != p[3]]
        return code.co_name == "<lambda>" and bool(places) and all(_holds(node.body, p) for p in places)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return code.co_name == node.name and code.co_firstlineno in (first, node.lineno)
    return False


def _holds(body: ast.expr, where: tuple) -> bool:
    """Whether the place of an instruction lies in a lambda's body."""
    start, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    return start <= (where[0], where[2]) <= end


@functools.lru_cache(maxsize=256)
def _definitions(file: str, source: str) -> tuple[ast.AST, ...]:
    """The functions, lambdas and classes of a module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    return tuple(node for node in ast.walk(ast.parse(source, filename=Path(file).name)) if isinstance(node, kinds))


def _bytecode(item: Any) -> str:
    """What stands for a function without source: its compiled code."""
    code = getattr(item, "__code__", None)
    return repr(item) if code is None else repr((code.co_code.hex(), code.co_names, repr(code.co_consts)))
