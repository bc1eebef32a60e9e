"""The state of a training in its middle, kept in the store so that a training that was stopped goes on from there."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from kdlib.store.artefacts import Store
from kdlib.training.loop import Loop, Recorder


class StoredCheckpoint:
    """A training's state after each epoch, in the store, once training has taken `every_seconds` since the last one.

    Orders and views of an epoch are pure functions of (seed, epoch), so weights, momenta and records are the whole state.
    """

    def __init__(
        self, store: Store, description: dict, extra: list[np.ndarray] | None = None, every_seconds: float = 60.0
    ):
        self.store, self.description, self.every = store, description, every_seconds
        self.extra = extra if extra is not None else []  # arrays gathered so far, e.g. early probabilities
        self._known = len(self.extra)
        self._clock = time.monotonic()

    def save(self, loop: Loop, recorder: object, history: list) -> None:
        if time.monotonic() - self._clock < self.every:
            return
        self._clock = time.monotonic()
        arrays = {f"extra/{i}": a for i, a in enumerate(self.extra[self._known :])}
        for group, tensors in self._parts(loop, recorder).items():
            arrays |= {f"{group}/{name}": t.detach().cpu().numpy() for name, t in tensors.items()}
        self.store.save_checkpoint(self.description, arrays, {"history": history, "steps": loop.steps})

    def load(self, loop: Loop, recorder: object, history: list) -> int:
        found = self.store.load_checkpoint(self.description)
        if found is None:
            return 0
        arrays, state = found
        for parameter in loop.optimiser.param_groups[0]["params"]:  # give each a momentum to be filled
            loop.optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        for group, tensors in self._parts(loop, recorder).items():
            for name, tensor in tensors.items():
                tensor.detach().copy_(torch.from_numpy(np.array(arrays[f"{group}/{name}"])))
        gathered = sum(name.startswith("extra/") for name in arrays)
        self.extra += [arrays[f"extra/{i}"] for i in range(gathered)]
        loop.steps = state["steps"]
        history[:] = [
            [[float("nan") if v is None else v for v in row] for row in column] for column in state["history"]
        ]
        return len(history[0])

    def clear(self) -> None:
        self.store.clear_checkpoint(self.description)

    def _parts(self, loop: Loop, recorder: object) -> dict[str, dict[str, Tensor]]:
        momenta = [loop.optimiser.state[p]["momentum_buffer"] for p in loop.optimiser.param_groups[0]["params"]]
        return {
            "network": dict(loop.stack.state_dict()),
            "term": dict(loop.term.state_dict()) if loop.term is not None else {},
            "momentum": {str(i): m for i, m in enumerate(momenta)},
            "record": {} if recorder is None else {n: getattr(recorder, n) for n in Recorder.FIELDS},
        }
