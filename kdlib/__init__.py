"""kdlib: knowledge distillation on pruned data, as a course and as a reproduction.

    from kdlib import Run, run, sweep
    sweep({"fraction": [0.1, 0.3], "loss": ["cross_entropy", "kd"], "seed": [0, 1, 2]})

Names are imported on first use, so that `import kdlib` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Here, since it counts only before torch is imported: OpenMP threads that wait asleep leave the cores to those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOME = {
    "Run": "experiments.config",
    "run": "experiments.run",
    "load_student": "experiments.run",
    "load_teacher": "experiments.run",
    "student_of": "experiments.run",
    "PRESETS": "experiments.config",
    "sweep": "experiments.grid",
    "load_rows": "experiments.grid",
    "plot": "analysis.plots.table",
    "load": "data.datasets",
    "Dataset": "data.datasets",
    "MODELS": "models",
    "LOSSES": "losses",
    "RESHAPES": "losses",
    "FEATURE_LOSSES": "losses",
    "SCORERS": "scorers",
    "Signals": "scorers",
    "keep_indices": "selection.rules",
    "Recipe": "training.recipe",
    "train": "training.loop",
    "Store": "store.artefacts",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"kdlib.{_HOME[name]}"), name)
    raise AttributeError(f"module 'kdlib' has no attribute {name!r}; it offers {', '.join(__all__)}")
