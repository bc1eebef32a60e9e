"""A method and its options as one text, such as `dkd(non_target_weight=8, warmup_epochs=20)`.

The options of a method are the keyword-only arguments of its function, less those that the engine supplies to every
method of its kind. So a method's signature is the one place that says what its options are called, of which type
they are and what they are by default.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kdlib.utils.errors import choose
from kdlib.utils.values import literal, split_commas

_CALL = re.compile(r"\s*([^\s(]+)\s*(?:\((.*)\)\s*)?", re.DOTALL)
_PLAIN_WORD = re.compile(r"[\w./:~@+-]+")


def split_call(text: str) -> tuple[str, dict[str, Any]]:
    """`"name(a=1, b=word)"` -> ("name", {"a": 1, "b": "word"}); ValueError for any other form."""
    found = _CALL.fullmatch(text)
    if not found:
        raise ValueError(f"expected name or name(option=value, ...), got {text!r}")
    return found[1], split_options(found[2] or "")


def split_options(text: str) -> dict[str, Any]:
    """`"a=1, b=word"` -> {"a": 1, "b": "word"}; ValueError for any other form and for a name given twice."""
    options: dict[str, Any] = {}
    for part in split_commas(text):
        name, equals, value = part.partition("=")
        if not equals or not name.strip().isidentifier() or not value.strip():
            raise ValueError(f"expected option=value, got {part!r}")
        if name.strip() in options:
            raise ValueError(f"option {name.strip()} is given twice")
        options[name.strip()] = literal(value)
    return options


def options_text(options: Mapping[str, Any]) -> str:
    """The canonical text of options: sorted by name, numbers in their shortest form."""
    return ", ".join(f"{name}={_value_text(options[name])}" for name in sorted(options))


def call_text(name: str, options: Mapping[str, Any]) -> str:
    """The canonical text of a call: `name` alone where there are no options."""
    return f"{name}({options_text(options)})" if options else name


def _value_text(value: Any) -> str:
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value_text, value))}]"
    if isinstance(value, str):
        return value if _PLAIN_WORD.fullmatch(value) and literal(value) == value else repr(value)
    return repr(value)


def accepts(function: Callable, name: str) -> bool:
    """Whether the function takes an argument of that name."""
    return name in _parameters(function)


def accepted(function: Callable, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the function takes (all of them where it has **arguments)."""
    known = _parameters(function)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
        return dict(arguments)
    return {name: value for name, value in arguments.items() if name in known}


def options_of(function: Callable, supplied: Collection[str] = ()) -> dict[str, Any]:
    """The options of a method with their defaults: its keyword-only arguments without those that are `supplied`."""
    return {
        name: None if p.default is inspect.Parameter.empty else p.default
        for name, p in _parameters(function).items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and name not in supplied
    }


def check_options(
    method: str, function: Callable, options: Mapping[str, Any], supplied: Collection[str] = ()
) -> dict[str, Any]:
    """The options that differ from their defaults, in the types of the signature.

    ValueError that names the method, the valid options and the nearest one, or the type or words that are expected.
    """
    known = options_of(function, supplied)
    hints = _hints(function) if options else {}
    checked = {}
    for name, value in options.items():
        if not known:
            raise ValueError(f"{method} has no options, got {name}")
        choose(f"option of {method}", name, known)
        right = _typed(f"{name} of {method}", value, known[name], hints.get(name))
        if right != known[name] or isinstance(right, bool) != isinstance(known[name], bool):
            checked[name] = right
    return checked


def _typed(what: str, value: Any, default: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        choose(what, value, dict.fromkeys(map(str, typing.get_args(hint))))
        return value
    if isinstance(default, bool) or default is None or isinstance(default, list | tuple):
        right = isinstance(value, bool) or default is None or isinstance(value, list | tuple)
        kind = "true or false" if isinstance(default, bool) else "a list such as [1, 2]"
    elif isinstance(default, float):
        right, kind = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif isinstance(default, int):
        right, kind = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    else:
        right, kind = isinstance(value, str), "a word"
    if not right:
        raise ValueError(f"{what} must be {kind}, got {value!r}")
    return float(value) if isinstance(default, float) else value


@functools.cache
def _parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _hints(function: Callable) -> dict[str, Any]:
    inner = function.func if isinstance(function, functools.partial) else function
    inner = inner.__init__ if isinstance(inner, type) else inner  # type: ignore[misc]
    try:
        return typing.get_type_hints(inner)
    except (NameError, TypeError):  # a hint that only type checkers can resolve
        return {}
