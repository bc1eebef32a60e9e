"""A run goes one way down, from the command line to its row: nothing on the way is done twice, and little climbs back up."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

import pytest

from kdlib.__main__ import main
from kdlib.experiments import checks, fingerprint
from kdlib.experiments.config import Run
from kdlib.store.artefacts import Store

MOST_RETURNS = 8


class Way:
    """A profiler that counts calls by function, and calls of a module that has been left for another one below."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, str]] = []
        self.calls: Counter[str] = Counter()
        self.returns: set[tuple[str, str, str]] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname
        if not module.startswith("kdlib"):
            return
        if event == "call":
            self.calls[f"{module}.{function}"] += 1
            if self.stack and self.stack[-1][0] != module and any(module == passed for passed, _ in self.stack):
                self.returns.add((*self.stack[-1], f"{module}.{function}"))
            self.stack.append((module, function))
        elif event == "return" and self.stack:
            self.stack.pop()


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    """Of a run with scores and a teacher, from its arguments to its row, in an empty store."""
    found, args = Way(), ["run", "--epochs", "1", "--fraction", "0.2", "--scorer", "forgetting", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        for profiler in (None, found):  # once without, since imports under a profiler take minutes
            patch.setenv("KDLIB_STORE", str(tmp_path_factory.mktemp("store")))
            sys.setprofile(profiler)
            try:
                assert main(args) == 0
            finally:
                sys.setprofile(None)
    return found


def test_nothing_is_done_twice(way: Way) -> None:
    """Its description is asked for a second time when it is trained: whether it is still what it was.

    The second `Run` is the one without `--scorer`, which shows that this flag has an effect.
    """
    done = {f: way.calls[f"{f.__module__}.{f.__qualname__}"] for f in (Run.__post_init__, checks.check, Store.add_row)}
    assert done == {Run.__post_init__: 2, checks.check: 1, Store.add_row: 1}
    assert way.calls[f"{fingerprint.describe.__module__}.describe"] == 2


def test_it_returns_to_few_modules_that_it_had_left(way: Way) -> None:
    assert 0 < len(way.returns) <= MOST_RETURNS, "\n".join(map(str, sorted(way.returns)))
