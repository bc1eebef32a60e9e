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

    Of engine, conventional and ratio there are the ends of their ranges over the turns, too: `engine_low`, `engine_high`, ...
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
    spread = {
        f"{name}_{end}": found[name].map(lambda cell, end=end: _range(cell)[end == "high"])
        for name in ("engine", "conventional", "ratio")
        for end in ("low", "high")
    }
    return machine, found.assign(**numbers, **spread)


def _first_number(cell: str) -> float:
    match = re.match(NUMBER, cell)
    return float(match[0]) if match else float("nan")


def _range(cell: str) -> tuple[float, float]:
    """The ends of a range such as `942 (920-968)`; of a single number both are that number."""
    match = re.search(rf"\(({NUMBER})-({NUMBER})\)", cell)
    return (float(match[1]), float(match[2])) if match else (_first_number(cell),) * 2


def ladder(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """Rung by rung for one network, slowest first.

    Columns rung, rate (images per CPU-second, median of the turns), low and high (its range), limit of the machine (NaN:
    none), ratio (to the conventional loop of the same turn, median), ratio_low and ratio_high.
    """
    own = rows[rows.figure.str.startswith(f"{model}, KD, one thread")]
    if own.empty:
        raise ValueError(f"the table has no figures of {model}")
    rungs = [next(rung for word, rung in RUNGS.items() if word in figure) for figure in own.figure]
    columns = ["engine", "engine_low", "engine_high", "limit", "ratio", "ratio_low", "ratio_high"]
    engine = (
        own[columns].rename(columns={"engine": "rate", "engine_low": "low", "engine_high": "high"}).assign(rung=rungs)
    )
    base, one = own.iloc[0], dict.fromkeys(("ratio", "ratio_low", "ratio_high"), 1.0)
    slow = {"rate": base.conventional, "low": base.conventional_low, "high": base.conventional_high}
    first = pd.DataFrame([{"rung": "conventional loop", **slow, "limit": float("nan"), **one}])
    return pd.concat([first, engine.sort_values("rate")], ignore_index=True)


def equivalence(file: Path | None = None) -> list[str]:
    """The lines of `benchmarks/results/equivalence.txt` that compare accuracies with those of the conventional loop."""
    file = file or paths.root() / "benchmarks" / "results" / "equivalence.txt"
    return [line for line in file.read_text().splitlines() if "difference" in line]
