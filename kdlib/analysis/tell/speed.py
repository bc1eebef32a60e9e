"""What lesson 07 says about speed: sentences and tables made from measurements, counts and predictions, told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from kdlib.analysis.tell import SEEN, folded, listed
from kdlib.analysis.tell import table as as_table


def shown(network: str) -> str:
    """`ResNet-20` for `resnet20`."""
    return network.replace("resnet", "ResNet-")


def ladder(panels: Mapping[str, pd.DataFrame], machine: Mapping[str, str]) -> str:
    """How far each rung leads, from the one below it, and how much of the machine's limit is reached."""
    rows = []
    for name, found in panels.items():
        for row in found.itertuples():
            reached = "" if pd.isna(row.limit) else f"{row.rate / row.limit:.0%}"
            rate = f"{row.rate:.0f} ({row.low:.0f} to {row.high:.0f})"
            ratio = f"{row.ratio:.2f}" + (f" ({row.ratio_low:.2f} to {row.ratio_high:.2f})" if reached else "")
            rows.append([shown(name), row.rung, rate, ratio, reached])
    best = {name: found.loc[found.ratio.idxmax()] for name, found in panels.items()}
    said = listed([f"{shown(name)} {row.ratio:.1f} times ({row.rung})" for name, row in best.items()])
    header = ["network", "loop", "images per CPU-second", "times the conventional loop", "of the limit"]
    where = f"{machine.get('cpu', '?')}, {machine.get('cores', '?')} cores, GPU: {machine.get('gpu', '?')}"
    return (
        f"Measured ({where}), median of the turns and their range:\n\n{as_table(header, rows)}\n\n"
        f"{SEEN}The fastest loop against the conventional one: {said}."
    )


def _gain(found: pd.DataFrame, rung: str, base: str) -> tuple[float, float, float]:
    """How many times as fast one rung is as another: of the medians, and at least and at most by their ranges."""
    by_rung = found.set_index("rung")
    one, other = by_rung.loc[rung], by_rung.loc[base]
    return one.ratio / other.ratio, one.ratio_low / other.ratio_high, one.ratio_high / other.ratio_low


def arithmetic(found: Mapping[str, tuple[float, float]]) -> str:
    """Counted FLOPs of an image: network -> (forward, forward and backward); and what a cache can save at most."""
    rows = [
        [
            shown(name),
            f"{forward / 1e6:.1f}",
            f"{both / 1e6:.1f}",
            f"{forward / (forward + both):.0%}",
            f"{1 + forward / both:.2f}",
        ]
        for name, (forward, both) in found.items()
    ]
    header = [
        "network",
        "forward (MFLOP)",
        "forward and backward",
        "teacher's share of a step",
        "without it, at most times",
    ]
    return as_table(header, rows)


def cache_gain(panels: Mapping[str, pd.DataFrame], most: Mapping[str, float]) -> str:
    """Measured gain of cached logits beside the most that arithmetic allows: network -> ladder, network -> ratio."""
    said = []
    for name, found in panels.items():
        gain, least, highest = _gain(found, "cached logits", "engine, teacher asked anew")
        spread = f"{gain:.2f} times ({least:.2f} to {highest:.2f} by the ranges)"
        word = "within" if gain <= most[name] else "whose range includes" if least <= most[name] else "more than"
        said.append(f"{shown(name)} {spread}, {word} the {most[name]:.2f} that counting allows")
    return f"{SEEN}Cached logits gain, measured: {'; '.join(said)}."


def device(cuda: bool, name: str, operators: int) -> str:
    """What runs the lesson, and what it would do with a GPU; `operators`: calls of a training step."""
    calls = f"A step of this network calls {operators} operators, those called by others included."
    if not cuda:
        return (
            f"{calls} There is no GPU here: Python calls them one by one, and the processor itself carries them out. "
            "With a GPU kdlib records the step once (`GraphedStep`) and replays the whole of it with one call."
        )
    return (
        f"{calls} On this {name} kdlib records the step once (`GraphedStep`) and replays the whole of it with one call."
    )


def bytes_table(found: Mapping[str, float]) -> str:
    """Sizes in memory: name -> bytes."""
    return as_table(["what", "MB (worked out)"], [[name, f"{value / 1e6:,.1f}"] for name, value in found.items()])


def cache(asked: Mapping[int, tuple[int, int]], views: int, size: float) -> str:
    """How often the teacher was asked: student -> (images in its steps, forward passes of the teacher)."""
    rows = [[f"student {k}", seen, new, f"{new / seen:.0%}"] for k, (seen, new) in asked.items()]
    header = ["in this order", "images in steps", "teacher asked", "share"]
    return (
        f"{as_table(header, rows)}\n\n{SEEN}A sample has {views} views. "
        f"The later students ask {sum(new for _, new in list(asked.values())[1:])} times. All logits of CIFAR-100 in float16 "
        f"would take {size / 1e9:.2f} GB (worked out)."
    )


def rounding(found: Mapping[str, tuple[float, float]]) -> str:
    """Numbers and what bfloat16 makes of them: name -> (exact, rounded)."""
    rows = [[name, f"{exact:.7g}", f"{rounded:.7g}"] for name, (exact, rounded) in found.items()]
    return as_table(["number", "float32", "bfloat16"], rows)


def equivalence(lines: Sequence[str]) -> str:
    """The committed comparison of accuracies, line by line."""
    shown = "\n".join(f"- {line}" for line in lines).replace("+-", "±")
    return f"Measured, accuracies beside the conventional loop's:\n\n{shown}"


def side_by_side(rows: pd.DataFrame) -> str:
    """The measured sweeps of the benchmark, their ratio to the conventional loop, and what it does not say."""
    found = rows[rows.figure.str.startswith("sweep") & rows.ratio.notna()]
    cells = [
        [row.figure, row.note.split(",")[0], f"{row.engine:.3g}", f"{row.conventional:.3g}",
         f"{row.ratio:.2f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})"]
        for row in found.itertuples()
    ]  # fmt: skip
    head = [
        "sweep (measured)",
        "trained on",
        "engine (s)",
        "conventional (s)",
        "times faster, median and range of the turns",
    ]
    busy = int(found.figure.str.contains("kept busy").sum())
    other = f" In {busy} of the rows another process keeps one of the cores busy." if busy else ""
    whole = "This is the engine as a whole; how much of it is due to stacking is not measured here."
    return f"{as_table(head, cells)}\n\n{whole}{other}"


def preset(fields: Mapping[str, object]) -> str:
    """The fields of a preset, as a table."""
    return as_table(["field", "value"], [[f"`{name}`", value] for name, value in fields.items()])


def work(found: pd.DataFrame, gpu: float, core: float, rest: float) -> str:
    """What a table's trainings cost: columns part, trainings, images, flops; hours on a GPU and on a core.

    gpu: TFLOP/s that are assumed; core: TFLOP/s that were measured; rest: FLOPs of trainings that go on after their score
    was read, which are not in the table.
    """
    total = float(found.flops.sum())
    rows = [
        [row.part, row.trainings, f"{row.images / 1e6:,.0f}", f"{row.flops / 1e15:,.0f}", f"{row.flops / total:.0%}"]
        for row in found.itertuples()
    ]
    most = found.loc[found.flops.idxmax()]
    header = ["part", "trainings", "million images", "PFLOP (counted)", "share"]
    hours = {rate: total / rate / 1e12 / 3600 for rate in (gpu, core)}
    return (
        f"{as_table(header, rows)}\n\n{SEEN}Most of the arithmetic is in *{most.part}*: {most.flops / total:.0%}. At "
        f"{gpu:g} TFLOP/s sustained (assumed), all of it takes {hours[gpu]:,.1f} GPU-hours; at the {1e3 * core:.0f} GFLOP/s "
        f"that one core sustained in section 1 (measured), {hours[core] / 24:,.0f} core-days. Both are extrapolated. kdlib "
        f"trains EL2N's networks to their last epoch: {rest / 1e15:,.0f} PFLOP more, {rest / gpu / 1e12 / 3600:,.1f} GPU-hours."
    )


def makespans(found: Mapping[int, float], total: float) -> str:
    """Hours until the last run ends, by number of GPUs, and how evenly they are used."""
    rows = [[gpus, f"{value:.2f}", f"{total / gpus / value:.0%}"] for gpus, value in found.items()]
    return as_table(["GPUs", "hours (extrapolated)", "of the GPUs' time used"], rows)


def trick_guess(word: str, panels: Mapping[str, pd.DataFrame]) -> str:
    """The answer of a *predict* exercise: how much each rung gains over the cached float32 loop, folded."""
    said = []
    for name, found in panels.items():
        gains = {"cached logits": _gain(found, "cached logits", "engine, teacher asked anew")}
        gains |= {
            rung: _gain(found, rung, "cached logits") for rung in ("in bfloat16", "compiled") if rung in [*found.rung]
        }
        best = max(gains, key=lambda rung: gains[rung][0])
        told = [
            f"{rung} {gain:.2f}{' (ranges overlap)' if least <= 1 <= most else ''}"
            for rung, (gain, least, most) in gains.items()
        ]
        said.append(f"{shown(name)}: {listed(told)} times, so *{best}*")
    return folded("Result", f"You guessed *{word}*. Measured on the machine of section 1, {'; '.join(said)}.")
