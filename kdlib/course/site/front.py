"""What the front page says, from the rows that the project holds: the main figure, the scoreboard, random or medium."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kdlib.analysis import claims
from kdlib.analysis.claims import NOT_MEASURED, studies
from kdlib.analysis.effects import self_distilled
from kdlib.analysis.plots import style
from kdlib.analysis.plots.accuracy import accuracy_vs_fraction, seeds_note
from kdlib.analysis.plots.alt import describe
from kdlib.analysis.plots.inline import small_png
from kdlib.analysis.statistics import against_random, gain_points, interval, points
from kdlib.analysis.tables import MixedRows, tidy
from kdlib.analysis.tell import front_page

QUESTION = "Most of the training data is left out. Which samples should stay, and what does a teacher give back?"
LEAD = (
    "A course and a reproduction of two papers on knowledge distillation (KD) on pruned data. A student network trains on "
    "a kept fraction f of the samples. Its teacher has seen all of them and passes on more than labels: for each sample a "
    "probability of every class, its soft targets."
)
GREEK = {"theta": "θ", "lambda": "λ", "alpha": "α", "tau": "τ"}
NO_FIGURE = "Accuracy against the kept fraction on CIFAR has not been measured yet."


@dataclass(frozen=True)
class Shown:
    """A picture: its data address, its alternative text, its caption, what is to be seen, and what of medium samples."""

    address: str
    text: str
    caption: str
    seen: str
    medium: str


def front() -> dict[str, Any]:
    """The variables of the front page's template, all but the lessons."""
    found = {name: rows for name, rows in studies.measured(studies.files()) if not studies.former(rows)}
    judged = studies.judged(found)
    board = front_page.lines(judged)
    letters = {
        name: chr(ord("A") + k) for k, name in enumerate(dict.fromkeys(line.study for line in board if line.study))
    }
    named = {letters.get(name, name): verdicts for name, verdicts in judged.items()}
    return {
        "question": QUESTION,
        "lead": LEAD,
        "figure": main_figure(found),
        "no_figure": NO_FIGURE,
        "answer": front_page.random_or_medium({_readable(name): verdicts for name, verdicts in judged.items()}),
        "tally": front_page.tally(judged),
        "decided": [_row(line, letters) for line in board],
        "studies": [(letter, _readable(name)) for name, letter in letters.items()],
        "open_claims": _open(named),
    }


def _row(line: front_page.Line, letters: Mapping[str, str]) -> dict[str, str]:
    verdict = line.verdict
    return {
        "claim": verdict.claim,
        "text": _short(verdict.claim),
        "kind": verdict.verdict.split()[0],
        "verdict": verdict.reading,
        "numbers": _greek(verdict.numbers),
        "study": letters.get(line.study, ""),
    }


def _short(claim: str) -> str:
    """A claim's text without what it adds in brackets."""
    return _greek(re.sub(r" \([^)]*\)", "", claims.specifications()[claim].claim))


def _readable(study: str) -> str:
    """A study's name as prose, the file of its rows last: `CIFAR-100, student ResNet-20, 60 epochs (rows: NAME.jsonl)`."""
    found = re.fullmatch(r"(\S+) \((\S+); (.*)\)", study)
    if found is None:
        return study
    data, file, recipe = found.groups()
    for name, word in (
        ("cifar", "CIFAR-"),
        ("resnet", "ResNet-"),
        ("batch_size", "batch size"),
        ("lr", "learning rate"),
    ):
        data, recipe = re.sub(rf"\b{name}", word, data), re.sub(rf"\b{name}", word, recipe)
    recipe = re.sub(r"epochs (\d+)", r"\1 epochs", recipe)
    return f"{data}, {recipe} (rows: {file})"


def _greek(text: str) -> str:
    """The names of symbols as symbols."""
    return re.sub(rf"\b({'|'.join(GREEK)})\b", lambda name: GREEK[name[0]], text)


def _open(judged: Mapping[str, Sequence[claims.Verdict]]) -> list[tuple[str, str]]:
    """The claims that no study has measured, with their texts."""
    measured = {line.verdict.claim for line in front_page.lines(judged)}
    said = front_page.status(judged)
    return [
        (claim, _short(claim)) for claim, status in said.items() if status == NOT_MEASURED and claim not in measured
    ]


def main_figure(found: Mapping[str, pd.DataFrame]) -> Shown | None:
    """Accuracy against f in the CIFAR study with the best teacher, with and without KD on random samples; None without one.

    Students under teachers of another architecture are left out. A poor teacher is the mark of networks that were trained too
    briefly to say much.
    """
    for name, rows in sorted(found.items(), key=lambda item: _teacher(item[1]), reverse=True):
        if not str(rows.dataset.iloc[0]).startswith("cifar") or not {"scorer", "alpha", "loss"} <= set(rows.columns):
            continue
        own = self_distilled(rows)
        if own.empty:
            continue
        try:
            table = tidy(own)
        except MixedRows:
            continue
        pruned = table[(table.fraction < 1) & table.alpha.isin([0.0, 0.5])]
        if {0.0, 0.5} <= set(pruned[pruned.pruning == "random"].alpha):
            return _drawn(name, table, pruned)
    return None


def _teacher(rows: pd.DataFrame) -> tuple[float, int]:
    """The best teacher's accuracy, and the number of rows."""
    best = pd.to_numeric(rows["teacher_acc"]).max() if "teacher_acc" in rows else 0.0
    return (0.0 if pd.isna(best) else float(best), len(rows))


def _drawn(name: str, table: pd.DataFrame, pruned: pd.DataFrame) -> Shown:
    style.use()
    figure = accuracy_vs_fraction(pruned, **_all_data(table))
    figure.set_dpi(150)
    address = f"data:image/png;base64,{base64.b64encode(small_png(figure)).decode()}"
    text = describe(figure)
    style.close(figure)
    count = seeds_note(points(pruned, ("pruning", "alpha", "fraction")))
    caption = (
        f"Test accuracy against the kept fraction f, with KD (solid) and without (dashed): {_readable(name)}; "
        f"{len(pruned)} trainings, {count} at each point, bands are 95% intervals."
    )
    seen, medium = front_page.teacher_adds(gain_points(pruned)), front_page.medium_adds(against_random(pruned, 0.5))
    return Shown(address, text, caption, seen, medium)


def _all_data(table: pd.DataFrame) -> dict[str, Any]:
    """The level of all data and its name: that of students without KD, else that of the teachers."""
    whole = table[(table.fraction == 1) & (table.alpha == 0)].test_acc
    if len(whole):
        return {"full": interval(whole)}
    teachers = pd.to_numeric(table["teacher_acc"]).dropna().unique() if "teacher_acc" in table else []
    return {"full": interval(teachers) if len(teachers) else None, "full_name": "the teacher, all data"}
