"""Methods and their options written as calls."""

from __future__ import annotations

from typing import Literal

import pytest

from kdlib.utils.calls import accepted, call_text, check_options, options_of, split_call


def method(
    x: int, *, alpha: float = 0.5, gain: float = 1.0, rounds: int = 3, exact: bool = True, rule: Literal["a", "b"] = "a"
):
    """A method with four options of its own; alpha is the engine's."""


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("kd", "kd", {}),
        ("dkd()", "dkd", {}),
        (" dkd ( a = 1 , b=word ) ", "dkd", {"a": 1, "b": "word"}),
        ("m(file=some/where.csv, list=[1, 2], on=true)", "m", {"file": "some/where.csv", "list": [1, 2], "on": True}),
    ],
)  # fmt: skip
def test_a_call_is_a_name_and_its_options(text: str, name: str, options: dict) -> None:
    assert split_call(text) == (name, options)
    assert split_call(call_text(name, options)) == (name, options)


@pytest.mark.parametrize("text", ["", "kd(", "kd(1)", "kd(a=)", "kd(a=1, a=2)", "kd) (", "kd(a=1)b"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected|twice"):
        split_call(text)


def test_the_canonical_text_is_sorted_and_short() -> None:
    assert call_text("m", {"b": 2.0, "a": "two words"}) == "m(a='two words', b=2)"


def test_options_are_the_keyword_arguments_that_nobody_supplies() -> None:
    assert options_of(method, {"alpha"}) == {"gain": 1.0, "rounds": 3, "exact": True, "rule": "a"}
    assert accepted(method, {"gain": 2, "other": 3}) == {"gain": 2}


def test_options_at_their_default_are_dropped() -> None:
    assert check_options("m", method, {"gain": 1, "rounds": 3, "exact": True}, {"alpha"}) == {}
    assert check_options("m", method, {"gain": 2, "exact": False}, {"alpha"}) == {"gain": 2.0, "exact": False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gian": 1}, "unknown option of m 'gian'; did you mean 'gain'"),
        ({"alpha": 1}, "unknown option of m 'alpha'"),
        ({"gain": "much"}, "gain of m must be a number"),
        ({"rounds": 1.5}, "rounds of m must be a whole number"),
        ({"exact": 1}, "exact of m must be true or false"),
        ({"rule": "c"}, "unknown rule of m 'c'; .*choose one of: a, b"),
    ],
)
def test_wrong_options_name_the_right_ones(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_options("m", method, options, {"alpha"})
