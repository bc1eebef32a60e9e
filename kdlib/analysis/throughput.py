"""The committed measurements of the engine's speed, as a table: `benchmarks/results/throughput.md`."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from kdlib.utils import paths

CELLS = ["figure", "engine", "conventional", "ratio", "target", "limit", "note"]
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"

# What a rung of the ladder adds, and the words by which the table's figures name it, the most particular first.
RUNGS = {
    "compiled": "compiled",
    "bfloat16": "in bfloat16",
    "computed afresh": "engine, teacher asked anew",
    "filled": "cached logits",
}


def read(file: Path | None = None) -> tuple[dict[str, str], pd.DataFrame]:
    """(what the machine was, the rows): columns figure, engine, conventional, ratio, limit (medians; NaN: none), note.

    ValueError for a file that holds no such table.
    """
    file = file or paths.root() / "benchmarks" / "results" / "throughput.md"
    lines = file.read_text().splitlines()
    machine = dict(line.split(": ", 1) for line in lines if re.match(r"[a-z ,/A-Z]+: ", line))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    if len(rows) < 2 or len(rows[0]) != len(CELLS):
        raise ValueError(f"{file} holds no table of benchmarks/throughput.py")
    found = pd.DataFrame(rows[1:], columns=CELLS)
    numbers = {name: found[name].map(_first_number) for name in ("engine", "conventional", "ratio", "limit")}
    return machine, found.assign(**numbers)


def _first_number(cell: str) -> float:
    match = re.match(NUMBER, cell)
    return float(match[0]) if match else float("nan")


def ladder(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """Rung by rung for one network, slowest first: rung, rate (images per CPU-second), limit of the machine (NaN: none)."""
    own = rows[rows.figure.str.startswith(f"{model}, KD, one thread")]
    if own.empty:
        raise ValueError(f"the table has no figures of {model}")
    rungs = [next(rung for word, rung in RUNGS.items() if word in figure) for figure in own.figure]
    engine = pd.DataFrame({"rung": rungs, "rate": own.engine.to_numpy(), "limit": own.limit.to_numpy()})
    first = pd.DataFrame([{"rung": "conventional loop", "rate": own.conventional.iloc[0], "limit": float("nan")}])
    return pd.concat([first, engine.sort_values("rate")], ignore_index=True)


def equivalence(file: Path | None = None) -> list[str]:
    """The lines of `benchmarks/results/equivalence.txt` that compare accuracies with those of the conventional loop."""
    file = file or paths.root() / "benchmarks" / "results" / "equivalence.txt"
    return [line for line in file.read_text().splitlines() if "difference" in line]
