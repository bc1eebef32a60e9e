"""The state of a training in its middle, kept in the store so that a training that was stopped goes on from there."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from kdlib.training.loop import Loop, Recorder

VERSION = 2
"""Raised when a checkpoint's content changes its meaning; older ones are set aside and their training starts anew."""

COUNTERS = ("steps", "presented")  # of a `Loop`


class CheckpointStore(Protocol):
    """What a checkpoint asks of a store (`kdlib.store.artefacts.Store` says what each does)."""

    def save_checkpoint(
        self, description: dict, arrays: dict[str, np.ndarray], state: dict, aims: Iterable[tuple[str, dict]] = ()
    ) -> None: ...
    def load_checkpoint(self, description: dict) -> tuple[dict[str, np.ndarray], dict] | None: ...
    def clear_checkpoint(self, description: dict) -> None: ...
    def refuse_checkpoint(self, description: dict, reason: str) -> None: ...


class StoredCheckpoint:
    """A training's state after each epoch, in the store, once training has taken `every_seconds` since the last one.

    Orders and views of an epoch are pure functions of (seed, epoch), so the state is: the network, the feature loss's
    module (its generator, too, if the module has `get_extra_state`), the optimiser's tensors, the sampler and the
    records. A checkpoint of another version, or of a network of other shapes, is set aside.

    `aims`: (kind, description) of the entries that the training makes, in the order of its members; for `store gc`,
    and for a sweep that puts the runs of an interrupted batch side by side again. `extra`: arrays gathered so far,
    such as early probabilities. `seconds`: what the training took before it was interrupted.
    """

    def __init__(
        self,
        store: CheckpointStore,
        description: dict,
        extra: list[np.ndarray] | None = None,
        every_seconds: float = 60.0,
        aims: Iterable[tuple[str, dict]] = (),
    ) -> None:
        self.store, self.description, self.every, self.aims = store, description, every_seconds, list(aims)
        self.extra = extra if extra is not None else []
        self.seconds = 0.0
        self._known = len(self.extra)
        self._clock = self._began = time.monotonic()

    def save(self, loop: Loop, recorder: Recorder | None, history: list) -> None:
        """Keep the state after an epoch, if it is time."""
        if time.monotonic() - self._clock < self.every:
            return
        self._clock = time.monotonic()
        arrays = {f"extra/{i}": a for i, a in enumerate(self.extra[self._known :])}
        for group, tensors in {**_parts(loop, recorder), "optimiser": _optimiser_state(loop)}.items():
            arrays |= {f"{group}/{name}": t.detach().cpu().numpy() for name, t in tensors.items()}
        if loop.sampler is not None:
            arrays |= {f"sampler/{name}": array for name, array in loop.sampler.get_state().items()}
        counters = {name: getattr(loop, name) for name in COUNTERS if hasattr(loop, name)}
        seconds = self.seconds + time.monotonic() - self._began
        state = {"version": VERSION, "history": history, "counters": counters, "seconds": seconds}
        self.store.save_checkpoint(self.description, arrays, state, self.aims)

    def load(self, loop: Loop, recorder: Recorder | None, history: list) -> int:
        """Put a stored state back; the number of epochs that are done, 0 if there is none."""
        found = self.store.load_checkpoint(self.description)
        if found is None:
            return 0
        arrays, state = found
        if reason := _misfit(arrays, state, _parts(loop, recorder)):
            self.store.refuse_checkpoint(self.description, reason)
            return 0
        groups = _grouped(arrays)
        _restore(loop, recorder, groups)
        self.extra += [groups["extra"][str(i)] for i in range(len(groups.get("extra", {})))]
        for name, value in state["counters"].items():
            setattr(loop, name, value)
        self.seconds = state["seconds"]
        history[:] = [
            [[float("nan") if v is None else v for v in row] for row in column] for column in state["history"]
        ]
        return len(history[0])

    def clear(self) -> None:
        """Forget the state: what the training makes is stored."""
        self.store.clear_checkpoint(self.description)


def _parts(loop: Loop, recorder: Recorder | None) -> dict[str, dict[str, Tensor]]:
    """What is there from the first step on, with names and shapes that the network and the loss decide."""
    return {
        "network": dict(loop.stack.state_dict()),
        "term": dict(loop.term.state_dict()) if loop.term is not None else {},
        "record": {} if recorder is None else {n: getattr(recorder, n) for n in Recorder.FIELDS},
    }


def _optimiser_state(loop: Loop) -> dict[str, Tensor]:
    """The optimiser's tensors by the parameter's number and their name; SGD without momentum has none."""
    state = loop.optimiser.state_dict()["state"]
    return {f"{i}/{name}": t for i, one in state.items() for name, t in one.items() if isinstance(t, Tensor)}


def _grouped(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        group, _, rest = name.partition("/")
        found.setdefault(group, {})[rest] = array
    return found


def _misfit(arrays: dict[str, np.ndarray], state: dict, parts: dict[str, dict[str, Tensor]]) -> str:
    """Why the checkpoint cannot be used; empty if it can."""
    if state.get("version") != VERSION:
        return "it was written by another version of kdlib"
    wanted = {f"{group}/{name}": tuple(t.shape) for group, tensors in parts.items() for name, t in tensors.items()}
    there = {name: array.shape for name, array in arrays.items() if name.partition("/")[0] in parts}
    return "" if there == wanted else "it is of a network of other shapes"


def _restore(loop: Loop, recorder: Recorder | None, groups: dict[str, dict[str, np.ndarray]]) -> None:
    """Copy the state into the loop's own tensors, so that their devices and memory formats stay as they are."""
    tensors = {
        group: {name: torch.from_numpy(np.array(array)) for name, array in named.items()}
        for group, named in groups.items()
    }
    loop.stack.load_state_dict(tensors.get("network", {}))
    if loop.term is not None:
        loop.term.load_state_dict(tensors.get("term", {}))
    for name, tensor in tensors.get("record", {}).items():
        getattr(recorder, name).copy_(tensor)
    _restore_optimiser(loop.optimiser, tensors.get("optimiser", {}))
    if loop.sampler is not None:
        loop.sampler.set_state(groups["sampler"])


def _restore_optimiser(optimiser: torch.optim.Optimizer, named: dict[str, Tensor]) -> None:
    whole = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in named.items():
        number, _, what = name.partition("/")
        own = parameters[int(number)]
        if tensor.shape == own.shape:  # a fused step wants it laid out in memory like the parameter
            tensor = torch.empty_like(own, requires_grad=False).copy_(tensor)
        state.setdefault(int(number), {})[what] = tensor
    optimiser.load_state_dict({**whole, "state": state})
