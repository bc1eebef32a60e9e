"""A training step as one CUDA graph: a small network's hundreds of kernels are launched with a single call.

A GPU finishes a small network's kernels faster than Python can launch them. A graph records the launches once and repeats
them on the same memory, so a step's inputs are copied to where the recorded one found its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

Inputs = tuple[Tensor | None, ...]
Outputs = tuple[Tensor, Tensor]
WARM_UP = 3  # ordinary steps before a recording: libraries choose their kernels, momenta are allocated


def record(step: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
    """(replay, outputs) of a step that is recorded, not carried out; `replay()` carries it out and fills `outputs`."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = step()
    return graph.replay, outputs


def aside(step: Callable[[], Outputs]) -> Outputs:
    """The step on a stream of its own, as what is recorded later must not depend on the default stream."""
    side, here = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(here)
    with torch.cuda.stream(side):
        outputs = step()
    here.wait_stream(side)
    return outputs


class GraphedStep:
    """`step(*inputs) -> (logits, loss)`, recorded once for each shape of the inputs after `WARM_UP` ordinary steps.

    Outputs are overwritten by the next step of that shape. Where recording fails, steps stay ordinary ones.
    """

    def __init__(
        self,
        step: Callable[..., Outputs],
        record: Callable[[Callable[[], Outputs]], tuple[Callable[[], None], Outputs]] = record,
        aside: Callable[[Callable[[], Outputs]], Outputs] = aside,
    ) -> None:
        self.step, self.record, self.aside = step, record, aside
        self.possible = True
        self.forget()

    def forget(self) -> None:
        """Record anew: the step is to do something else from now on."""
        self.seen: Counter[tuple] = Counter()
        self.recorded: dict[tuple, tuple[Inputs, Callable[[], None], Outputs]] = {}

    def __call__(self, *inputs: Tensor | None) -> Outputs:
        shape = tuple(None if x is None else tuple(x.shape) for x in inputs)
        self.seen[shape] += 1
        if self.possible and shape not in self.recorded and self.seen[shape] > WARM_UP:
            self._record(shape, inputs)
        if shape not in self.recorded:
            return self.aside(lambda: self.step(*inputs))
        places, replay, outputs = self.recorded[shape]
        for place, value in zip(places, inputs, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        replay()
        return outputs

    def _record(self, shape: tuple, inputs: Inputs) -> None:
        places = tuple(None if x is None else x.clone() for x in inputs)
        try:
            self.recorded[shape] = (places, *self.record(lambda: self.step(*places)))
        except RuntimeError as error:
            self.possible = False
            print(f"CUDA graphs cannot be used here ({str(error).splitlines()[0]}); training goes on step by step")
