"""What a lesson says about teachers of several sizes: sentences and tables made from the numbers.

Every function is pure and returns Markdown. Where several teachers of a kind take part, the intervals take in the luck of the
teacher (see `kdlib.analysis.statistics.estimate`), and n counts students.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import FALLS, RISES, SAME, SEEN, change, comparison, direction, level, listed, number
from kdlib.analysis.tell import table as as_table

STUDENTS = 2  # of each teacher, where teachers' means are the sample


def two_teachers(rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> str:
    """Two rows of `run` that differ in the teacher's network alone."""
    first, second = rows
    told = [
        f"from {row['teacher']} ({sizes[row['teacher']]:,} parameters, {row['teacher_acc']:.1f}% of the test images right): "
        f"**{row['test_acc']:.1f}%**"
        for row in rows
    ]
    gap = second["test_acc"] - first["test_acc"]
    better = second["teacher_acc"] - first["teacher_acc"]
    return (
        f"Both students keep the same {first['kept']} samples and start from the same weights. The student's accuracy, "
        f"{'; '.join(told)}. The second teacher is {_apart(better)} the first, its student {_apart(gap)} the other "
        "student. One teacher of each kind, so no interval."
    )


def _apart(points: float) -> str:
    if points == 0:
        return "as good as"
    return f"{abs(points):.1f} points {'better' if points > 0 else 'worse'} than"


def toy(found: Mapping[str, tuple[float, float]], kept: int, wrong: int) -> str:
    """Teachers of a toy: name -> accuracy in percent on fresh points, of the teacher and of the student that it taught.

    kept: the samples of each student, all labelled correctly; wrong: the teachers' wrong labels.
    """
    rows = [[name, f"{teacher:.1f}", f"{student:.1f}"] for name, (teacher, student) in found.items()]
    marks = (
        f"Circles are class 1, squares class 0: the {kept} samples of the students, all labelled correctly. Crosses are the "
        f"{wrong} samples with a wrong label, which only the teachers see."
    )
    text = f"{marks}\n\n{SEEN}Accuracy in percent on fresh points. One draw, so no interval:\n\n"
    return text + as_table(["teacher", "the teacher itself", "its student"], rows)


def teachers(found: Mapping[str, tuple[int, ArrayLike, ArrayLike]]) -> str:
    """A table of teachers: name -> (parameters, test accuracies (T,) in percent, mean top probabilities (T,) in percent)."""
    rows = [
        [name, f"{size:,}", str(len(np.asarray(right))), level(interval(right)), level(interval(sure))]
        for name, (size, right, sure) in found.items()
    ]
    header = ["teacher", "parameters", "n", "test accuracy", "how sure it is of training samples"]
    return f"{SEEN}Mean of n teachers of each kind, 95% interval, in percent:\n\n{as_table(header, rows)}"


def slopes(found: pd.DataFrame, by: str, shown: Callable[[Any], str], count: int) -> str:
    """What ten times the teacher's parameters change in the student, at each value of `by` (columns by, mean, half, n)."""
    unit = "points for ten times the parameters"
    lines = [
        f"- {of_teachers(change(f'{shown(row[by])}: accuracy', _interval(row), unit), _interval(row))}"
        for row in found.to_dict("records")
    ]
    given = f"with {count} teachers of each size" if count > 1 else "given one teacher of each size"
    return f"{SEEN}The student's accuracy against its teacher's size, {given}:\n\n" + "\n".join(lines)


def _interval(row: Mapping[str, Any]) -> Interval:
    return Interval(float(row["mean"]), float(row["half"]), int(row["n"]))


def of_teachers(text: str, found: Interval) -> str:
    """`text` with `n = 10` spelt out: 10 students of 5 teachers."""
    return text.replace(f"n = {found.n}", f"{found.n} students of {found.n // STUDENTS} teachers")


def against_own(found: pd.DataFrame, student: str, sizes: Mapping[str, int]) -> str:
    """Teachers against one of the student's own architecture: columns teacher, fraction, mean, half, n; smallest first."""
    rows = sorted(found.to_dict("records"), key=lambda row: (row["fraction"], sizes[row["teacher"]]))
    better = [f"{row['teacher']} at f = {row['fraction']:.0%}" for row in rows if direction(_interval(row)) == RISES]
    worse = [f"{row['teacher']} at f = {row['fraction']:.0%}" for row in rows if direction(_interval(row)) == FALLS]
    said = [
        f"{word} than self-distillation: {listed(names) or 'none'}"
        for word, names in (("better", better), ("worse", worse))
    ]
    table = as_table(
        ["teacher", "f", f"minus teacher {student} (points)", "reading"],
        [
            [r["teacher"], f"{r['fraction']:.0%}", of_teachers(number(found), found), direction(found)]
            for r, found in ((row, _interval(row)) for row in rows)
        ],
    )
    return (
        f"{SEEN}Detected as {'; '.join(said)}. The lines are not corrected for their number, and the intervals are those of "
        f"the teachers' means:\n\n{table}"
    )


def again(found: pd.DataFrame, first: str, second: str) -> str:
    """The two kinds of teachers of the first section, now several of each: columns fraction, mean, half, n; first - second."""
    lines = [
        f"- f = {row['fraction']:.0%}: "
        + of_teachers(comparison(f"the student of {first}", f"that of {second}", _interval(row)), _interval(row))
        for row in found.to_dict("records")
    ]
    return "\n\n**Section 1 again**, with several teachers of each kind:\n\n" + "\n".join(lines)


def effects(found: Mapping[str, Interval]) -> str:
    """One sentence for each effect on several students of each teacher: name -> interval in points."""
    lines = [f"- {of_teachers(_effect(name, value), value)}" for name, value in found.items()]
    return f"{SEEN}Changes of accuracy:\n\n" + "\n".join(lines)


def _effect(name: str, found: Interval) -> str:
    return change(name if direction(found) == SAME else f"{name}: accuracy", found)


def sure_or_right(found: Mapping[str, Interval], own: Interval) -> str:
    """Effects of two changes of a teacher, over teachers' means in points, and what they say together.

    found: both changes, less sure alone, less trained alone (at full sureness), and how far both differ from the sum of the
    two, in this order; own: less trained at the early teacher's own sureness.
    """
    *names, beyond = found
    _, sure, right, more = found.values()
    lines = [f"- {_effect(name, found[name])}" for name in names]
    together = {
        RISES: "together the two changes cost less than the sum of each alone",
        FALLS: "together they cost more",
    }
    said = together.get(direction(more), f"from the sum {direction(more)}")
    lines.append(f"- {beyond}: {number(more).replace(' (', ' points (')}: {said}.")
    levels = {"at full sureness": right, "at the early teacher's own": own}
    costs = [place for place, value in levels.items() if direction(value) == FALLS]
    each = "; ".join(f"{place} {number(value)}" for place, value in levels.items())
    helps = {RISES: "raises accuracy", FALLS: "costs accuracy"}.get(direction(sure), "has no effect that is detected")
    closing = (
        f"**Sure, or right?** What early weights change, in points: {each}. Being less trained costs accuracy "
        f"{' and '.join(costs) or 'at neither, as far as is detected'}; being less sure alone {helps}."
    )
    text = f"{SEEN}Changes of accuracy; n counts teachers:\n\n" + "\n".join(lines)
    return f"{text}\n\n{closing}"


def worth(found: Mapping[str, pd.DataFrame]) -> str:
    """What a teacher's data is worth: name of a comparison -> columns fraction, mean, half, n (differences in points)."""
    rows = [
        [name, f"{row['fraction']:.0%}", f"{_interval(row)}", direction(_interval(row))]
        for name, table in found.items()
        for row in table.to_dict("records")
    ]
    n = int(next(iter(found.values())).n.iloc[0])
    text = f"{SEEN}Differences between students of equal seed, n = {n}; no two seeds share a teacher:\n\n"
    return text + as_table(["comparison", "f", "difference (points)", "reading"], rows)


def paper_teachers(printed: Mapping[str, float], study: pd.DataFrame, sizes: Mapping[str, int]) -> str:
    """The paper's teachers and ours on CIFAR-100: network -> accuracy in percent; `study` may have no rows yet."""
    rows, missing = [], []
    for name, accuracy in printed.items():
        ours = our_teachers(study, name)
        missing += [] if len(ours) else [name]
        shown = f"{level(interval(ours))}" if len(ours) else "not measured yet"
        rows.append([name, f"{sizes[name]:,}", f"{accuracy:.1f}", shown])
    lack = f"\n\nNot measured yet by us: {listed(missing)}." if missing else ""
    return f"Test accuracy in percent:\n\n{as_table(['teacher', 'parameters', 'paper', 'ours'], rows)}{lack}"


def our_teachers(study: pd.DataFrame, name: str) -> list[float]:
    """The test accuracies in percent of a study's teachers of one architecture, each teacher once."""
    if study.empty:
        return []
    taught = study[(study.teacher == name) & study.teacher_acc.notna()]
    return taught.groupby(["teacher_seed", "teacher_recipe"]).teacher_acc.first().tolist()


def in_study(found: pd.DataFrame) -> str:
    """What the CIFAR-100 study has of students by teacher: the table of `kdlib.analysis.effects.by_teacher`."""
    if found.empty:
        return "\n\nStudents by teacher are not measured yet on CIFAR-100: the figure is empty."
    at = {kind: sorted(set(part.fraction)) for kind, part in found.groupby("teacher", sort=False)}
    kinds = [f"{kind} (f = {listed([f'{f:.0%}' for f in fractions])})" for kind, fractions in at.items()]
    lone = " With one kind of teacher there is nothing to compare yet." if len(kinds) == 1 else ""
    return f"\n\nOur students ({found.student.iloc[0]}) were taught by {listed(kinds)}.{lone}"
