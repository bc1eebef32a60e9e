"""Values written as text: numbers, truth values, lists and quoted words."""

from __future__ import annotations

import pytest

from kdlib.utils.calls import call_text, split_call
from kdlib.utils.values import split_commas


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b,[c,d]", ["a", "b", "[c,d]"]),
        ("kd, dkd(non_target_weight=8, warmup_epochs=0)", ["kd", "dkd(non_target_weight=8, warmup_epochs=0)"]),
        ("'e,f',g", ["'e,f'", "g"]),
        ('file="a)b, c.csv", parts=2', ['file="a)b, c.csv"', "parts=2"]),
        (r"file='it\'s, here', x", [r"file='it\'s, here'", "x"]),
        ("it's,that's", ["it's", "that's"]),
        ("", []),
    ],
)
def test_commas_inside_brackets_and_quotes_do_not_split(text: str, parts: list[str]) -> None:
    assert split_commas(text) == parts


@pytest.mark.parametrize(
    "word", ["a, b", "(a", "b)", "it's", 'say "no"', "both ' and \"", "1e3", "true", r"a\b", "a=b"]
)
def test_any_word_survives_the_text_of_a_call(word: str) -> None:
    options = {"file": word, "parts": 2}
    assert split_call(call_text("released", options)) == ("released", options)
