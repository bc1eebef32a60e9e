"""What lesson 15 says about streaming, several processes, decoding and costs: sentences and tables from the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kdlib.analysis.claims import Verdict
from kdlib.analysis.names import named
from kdlib.analysis.tell import SEEN, folded, listed
from kdlib.analysis.tell import table as as_table
from kdlib.imagenet.costs import Cluster, Cost, Measured

NAMES = {"cross_entropy": "no KD", "kd": "KD"}
LOSSES = {"none": "no KD", "kd": "KD", "kd-full_none": "KD, minus all data without KD"}  # of the papers' numbers
METRICS = {
    "top1": "top-1 (%)",
    "top5": "top-5 (%)",
    "top1 gain over full data without KD": "top-1 (points)",
    "accuracy gain over full data": "accuracy (points)",
}


def tiny_names(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the tiny run with a name for each training; the one on all images is the teacher. Largest f first."""
    ordered = rows.sort_values(["fraction", "loss"], ascending=[False, True]).reset_index(drop=True)
    kinds = [
        "teacher, all images" if row.fraction == 1 else f"student, {NAMES[row.loss]}, f = {row.fraction:.0%}"
        for row in ordered.itertuples()
    ]
    return ordered.assign(name=kinds)


def tiny_run(rows: pd.DataFrame) -> str:
    """The trainings of the tiny run, what they cost, and how little they say about KD."""
    cells = [
        [
            row.name,
            row.epochs,
            row.kept,
            row.steps,
            row.student_images,
            f"{row.test_acc:.1f}",
            f"{row.test_top5:.1f}",
            row.seed,
        ]
        for row in rows.itertuples(index=False)
    ]
    header = ["training", "epochs", "kept images", "steps", "images seen", "top-1 (%)", "top-5 (%)", "seed"]
    students = rows[rows.fraction < 1].set_index("loss")
    gap = _gap(students.test_acc["kd"], students.test_acc["cross_entropy"])
    return (
        f"{as_table(header, cells)}\n\n{SEEN}Of these two students, the one with KD is {abs(gap):.1f} points "
        f"{'above' if gap > 0 else 'below'} the one without, and {_against(students.test_acc['kd'], rows)}. With one "
        f"training each (n = {len(students) // 2}) there is no interval, and no effect is claimed: the rows show that every "
        f"part works on real files. {_conditions(rows)}"
    )


def _conditions(rows: pd.DataFrame) -> str:
    """Network, classes and size of the images, and how far the number of validation images leaves an accuracy open."""
    first, share = rows.iloc[0], rows.test_acc / 100
    half = 196 * math.sqrt((share * (1 - share)).max() / first.val_images)  # points, binomial
    return (
        f"Each network is a {first.student}, on {first.dataset.split('_')[-1]} classes at {first.image_size} pixels. "
        f"{first.val_images} validation images alone leave a top-1 accuracy open by up to {half:.1f} points to either side "
        "(95%, binomial)."
    )


def _gap(first: float, second: float) -> float:
    """The difference of two accuracies as the table prints them."""
    return round(first, 1) - round(second, 1)


def _against(student: float, rows: pd.DataFrame) -> str:
    gap = _gap(student, rows[rows.fraction == 1].test_acc.iloc[0])
    return f"{abs(gap):.1f} points {'above' if gap > 0 else 'below'} its own teacher"


def sizes(found: Mapping[str, float], batch: float) -> str:
    """Bytes of ImageNet in several forms, and of one batch in flight: name -> bytes."""
    rows = [[name, f"{value / 1e9:,.1f}"] for name, value in found.items()]
    return (
        f"{as_table(['all training images as', 'GB (worked out)'], rows)}\n\nA batch in flight takes {batch / 1e6:.1f} MB, "
        "however many images there are: that is streaming."
    )


def streamed(read: int, files: int, accuracy: float, seen: int) -> str:
    """What one pass over the images gave: how many could be read, how well the class means classify."""
    return (
        f"{SEEN}One pass read {read} of {files} training files; {files - read} could not be read. The nearest class mean is "
        f"right for {accuracy:.2f}% of the {seen} validation images."
    )


def padded_accuracy(found: Mapping[int, tuple[int, float]], exact: float, images: int) -> str:
    """Accuracy with padding: processes -> (images counted, percent), beside the exact one."""
    rows = [
        [size, counted, counted - images, f"{value:.4f}", f"{value - exact:+.4f}"]
        for size, (counted, value) in found.items()
    ]
    wrong = sum(abs(value - exact) > 1e-9 for _, value in found.values())
    header = ["processes", "images counted", "twice", "accuracy with padding (%)", "minus exact (points)"]
    return (
        f"{as_table(header, rows)}\n\n{SEEN}The exact accuracy is {exact:.4f}% ({images} images). With {wrong} of the "
        f"{len(found)} numbers of processes the accuracy differs, from the same answers of the same classifier."
    )


def gradients(found: Mapping[str, Mapping[str, float]]) -> str:
    """Relative errors of a step's gradient: how the batch is shared -> (way to average -> error)."""
    ways = list(next(iter(found.values())))
    rows = [[shares, *(_rounded(errors[way]) for way in ways)] for shares, errors in found.items()]
    bad = [shares for shares, errors in found.items() if errors[ways[0]] > 1e-4]
    return (
        f"{as_table(['images on the processes', *(f'error: {way}' for way in ways)], rows)}\n\n{SEEN}The {ways[0]} is off "
        f"where the shares are uneven: for {listed(bad) or 'none of them'}. The {ways[1]} errs by rounding only."
    )


def _rounded(error: float) -> str:
    """An error; one as small as the rounding of sums differs between processors and is not told in digits."""
    return f"{error:.1e}" if error > 1e-6 else "below 1e-6"


def resumed(found: Mapping[str, float]) -> str:
    """How far a training that was stopped ends from the unbroken one: what was restored -> largest difference of a weight."""
    rows = [[name, f"{value:.1e}"] for name, value in found.items()]
    exact = [listed(name.split(", ")) for name, value in found.items() if value == 0]
    said = (
        f"The weights are bit for bit those of the unbroken training only if {' or '.join(exact)} are restored."
        if exact
        else "In no case are the weights bit for bit those of the unbroken training."
    )
    return f"{as_table(['restored', 'largest difference of a weight'], rows)}\n\n{SEEN}{said}"


def live_run(first: Sequence[str], second: Sequence[str], row: Mapping[str, Any]) -> str:
    """What two processes said before and after they were killed, without what their clocks said, and the row."""
    said = [[line for line in lines if _lasting(line)] for lines in (first, second)]
    went_on = [line for line in said[1] if line.startswith("going on")]
    state = went_on[0] if went_on else "it began anew"
    return (
        f"Before the kill:\n\n{_quoted(said[0])}\n\nThe same command again:\n\n{_quoted(said[1])}\n\n{SEEN}The second start "
        f"says: *{state}*. {row['devices']} processes trained a {row['student']} on {row['kept']} images; "
        f"{row['skipped']} of them could not be read. Top-1 {row['test_acc']:.2f}%, top-5 {row['test_top5']:.2f}% of "
        f"{row['val_images']} validation images, each counted once."
    )


def _lasting(line: str) -> bool:
    """Whether a line says the same in every run: no rates, no times left, no table of the row."""
    return line.startswith(("going on", "skipped")) or (line.startswith("epoch") and "images/s" not in line)


def _quoted(lines: Sequence[str]) -> str:
    return "\n".join(["```text", *(lines or ["(nothing yet)"]), "```"])


def shared_scores(counts: Sequence[int], skipped: int, hardest: str, easiest: str) -> str:
    """How a scoring was shared out, and its two ends by file name."""
    return (
        f"{SEEN}The processes scored {listed(counts)} images, {sum(counts)} in all, each once; {skipped} could not be read. "
        f"The easiest for this teacher is `{easiest}`, the hardest `{hardest}`."
    )


def decoding(found: Mapping[str, Any]) -> str:
    """What a draft and a shrunken copy gain, and after how many epochs the copy has paid for itself."""
    rates, full = found["rates"], found["rates"]["full"]
    said = [f"{name} {rate / full:.2f} times" for name, rate in rates.items() if name != "full"]
    saved = 1 / full - 1 / rates["shrunken copy"]
    pays = (
        f"it has paid for itself after {1 / found['copies_per_second'] / saved:.1f} epochs"
        if saved > 0
        else "it never pays"
    )
    return (
        f"{SEEN}Measured on one core at {found['size']} pixels, by CPU seconds, {found['images']} generated JPEGs: full "
        f"decoding gives {full:.0f} training views a second. Against that: {listed(said)}. Making the copy takes "
        f"{1e3 / found['copies_per_second']:.1f} core ms an image, so that {pays}."
    )


def two_processes(found: Mapping[str, Any]) -> str:
    """The committed measurement of two processes against one, with the load of the machine that made it."""
    low, high = min(found["load"]), max(found["load"])
    busy = high + 2 > found["cores"]  # the two processes come on top; some of the load is what the turn before has left
    word = (
        "so that they may have waited for a core, and the ratio may be off by an unknown amount"
        if busy
        else "so that each had a core of its own"
    )
    return (
        f"Measured ({found['when']}, {found['cores']} cores): two processes reach {found['ratio']:.2f} times the images per "
        f"second of one ({min(found['ratios']):.2f} to {max(found['ratios']):.2f} in {len(found['ratios'])} turns). The load "
        f"before the turns was {low:.1f} to {high:.1f}, {word}. By CPU seconds, as if nobody had to wait for a core: "
        f"{found['ratio_without_waiting']:.2f} times (aim {found['target']})."
    )


def kinds_of_numbers(
    measured: Mapping[str, Measured], device: Mapping[str, Measured], cluster: Cluster, decoded: float
) -> str:
    """What the cost model is given, told apart: measured on one core, counted, assumed.

    decoded: images that a core decodes in a second, by another measurement.
    """
    rows = []
    for name, core in measured.items():
        gpu = device[name]
        rates = f"{core.train_rate:.3g} training, {core.teacher_rate:.3g} teacher images/s ({core.device})"
        kept = f"{core.activation_bytes / 1e6:.0f} MB an image kept for the backward pass (float32)"
        there = f"{gpu.train_rate:.0f} training, {gpu.teacher_rate:.0f} teacher images/s ({gpu.device})"
        rows += [
            [name, "measured", rates],
            [name, "measured", f"{core.decode_rate:.0f} images/s decoded by a core; {kept}"],
            [name, "counted, assumed", there],
        ]
    assumed = (
        f"{cluster.per_host} GPUs a host, {cluster.cores} cores a GPU, {cluster.link / 1e9:g} GB/s between GPUs, "
        f"{cluster.read / 1e9:g} GB/s of reading a host"
    )
    return (
        f"{as_table(['recipe', 'kind', 'number'], [*rows, ['all', 'assumed', assumed]])}\n\n"
        "These decoding rates come from another run than the one above, by CPU seconds, beside other work. That run gave "
        f"{decoded:.0f} images/s; the difference shows how far such a number can be relied on."
    )


def cost_table(panels: Mapping[str, pd.DataFrame], shown: str) -> str:
    """What each recipe waits for, and the extrapolated costs of one of them: a line for each f and number of GPUs."""
    rows = [
        [f"{row.fraction:.0%}", row.gpus, f"{row.hours:,.2f}", f"{row.gpu_hours:,.0f}", f"{row.scoring_gpu_hours:.2f}",
         f"{row.memory / 1e9:.1f}", f"{row.read / 1e12:,.1f}", row.bound]
        for row in panels[shown].itertuples()
    ]  # fmt: skip
    header = ["f", "GPUs", "hours", "GPU-hours", "scoring (GPU-hours)", "memory (GB a GPU)", "read (TB)", "waits for"]
    return f"{bounds(panels)}\n\nRecipe `{shown}`, all of it **extrapolated**, nothing measured:\n\n{as_table(header, rows)}"


def bounds(panels: Mapping[str, pd.DataFrame]) -> str:
    """What each recipe waits for, by number of GPUs."""
    said = []
    for name, found in panels.items():
        by_gpus = found.groupby("gpus").bound.agg(lambda b: " or ".join(sorted(set(b))))
        groups = [f"{bound} on {listed(list(part.index))}" for bound, part in by_gpus.groupby(by_gpus, sort=False)]
        said.append(f"`{name}`: {listed(groups)} GPUs")
    return f"{SEEN}In this model the trainings wait for: {'; '.join(said)}."


def time_ratios(found: Mapping[str, tuple[Cost, Cost, str]]) -> str:
    """Ratios of extrapolated times beside what the paper says: name -> (above, below, the paper's words).

    Where all of them wait for reading or decoding, that is all they measure, which is said.
    """
    rows = [
        [name, f"{above.hours / below.hours:.2f}", paper, f"{above.bound} / {below.bound}"]
        for name, (above, below, paper) in found.items()
    ]
    shown = as_table(["time, relative", "our model (extrapolated)", "paper (measured)", "ours wait for"], rows)
    waits = {cost.bound for above, below, _ in found.values() for cost in (above, below)}
    if len(waits) > 1 or not waits <= {"reading", "decoding"}:
        return shown
    product = math.prod(above.hours / below.hours for above, below, _ in found.values())
    inverse = ", and the second number is the inverse of the first" if math.isclose(product, 1, rel_tol=0.01) else ""
    return (
        f"{shown}\n\n{SEEN}Our ratios only count images: in this model {waits.pop()} is the limit everywhere, so that the "
        f"teacher costs no time{inverse}."
    )


def undecided(found: Sequence[Verdict]) -> str:
    """A table of verdicts with the reasons, for rows that decide little."""
    rows = [[v.claim, v.reading, v.numbers] for v in found]
    return f"Verdicts on the rows of the tiny run:\n\n{as_table(['claim', 'verdict', 'why'], rows)}"


def published(numbers: pd.DataFrame) -> str:
    """What the papers print about ImageNet, beside the empty column of ours."""
    papers = {"dkdp": "DKDP", "medium": "MD"}
    rows = [
        [f"{papers[row.paper]}, {row.where}", f"{row.student} from {row.teacher}", named(row.pruning),
         LOSSES.get(row.loss, row.loss), f"{row.fraction:.0%}", METRICS.get(row.metric, row.metric),
         f"{row.value:g}", "not measured"]
        for row in numbers[numbers.dataset == "imagenet"].itertuples()
    ]  # fmt: skip
    return as_table(["where", "networks", "pruning", "loss", "f", "metric", "paper", "ours"], rows)


def bound_guess(word: str, found: Mapping[str, str]) -> str:
    """The answer of a *predict* exercise: recipe and GPUs -> what the training waits for."""
    said = listed([f"{bound} ({name})" for name, bound in found.items()])
    return folded("Result", f"You guessed *{word}*. In this model it waits for {said}.")


def cores_needed(found: Mapping[str, Mapping[int, str]]) -> str:
    """From how many cores for each GPU on a recipe no longer waits for decoding: recipe -> (cores -> bound)."""
    said = []
    for name, by_cores in found.items():
        enough = [cores for cores, bound in by_cores.items() if bound != "decoding"]
        said.append(f"{name}: {f'from {min(enough)} cores a GPU on' if enough else f'more than {max(by_cores)}'}")
    return f"No longer decoding: {listed(said)}."
