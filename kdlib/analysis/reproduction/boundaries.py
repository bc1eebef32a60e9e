"""MD's pictures of decision boundaries and its Table 2, by the measures of lesson 10 on the runs of a setting.

The paper names neither the classes that it draws nor the samples of its mutual information: here these are three classes,
and the points between test samples of different classes, where the boundaries run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score

from kdlib.analysis import boundaries
from kdlib.analysis.plots import boundaries as plots
from kdlib.analysis.reproduction.figure import Drawn, PaperFigure, by_name
from kdlib.analysis.reproduction.samples import KEPT
from kdlib.analysis.reproduction.settings import Place, Setting
from kdlib.analysis.tell.boundaries import QUANTITIES
from kdlib.data.augment import normalise
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of, describe
from kdlib.experiments.follow import Look, follow
from kdlib.experiments.groups import PRUNINGS, Fields, Group
from kdlib.experiments.run import kept_samples, load_student, load_teacher
from kdlib.losses import LOSSES
from kdlib.store.artefacts import Arrays, Store
from kdlib.training.evaluate import accuracy, embeddings, predict

WINDOWS = ("easy", "medium", "hard")
KD: Fields = {"loss": "kd", "alpha": 0.9, "tau": 4.0, "fraction": 0.3}  # f is that of the paper's Fig. 3
TEACHERS = {"smoke": "epochs=4", "class": "epochs=20"}  # recipes of a ResNet-8, which teaches a perceptron on digits
CLASSES = (3, 8, 9)  # which are drawn
SHOWN = 500  # samples of each class that are drawn, at most; CIFAR-100 has as many
SIDE = 80  # points along an edge of a map
MAP_STEPS = {"smoke": 300}  # of t-SNE, elsewhere 1000
PAIRS, POINTS = 1000, [0, 2]  # pairs of test samples with points between them, and the seed that draws them
THROUGH = (1 / 2, 2 / 3, 1.0)  # shares of the epochs: 120, 160 and 240 of the paper's 240


def window_of(r: Run) -> str:
    """Which samples the run keeps: easy, medium or hard."""
    return next(name for name in WINDOWS if PRUNINGS[name]["centre"] == r.centre)


def by_window(r: Run) -> Place:
    """One place for each window: these figures show no accuracy."""
    return Place(window_of(r), r.fraction)


# ------------------------------------------------------------------------------------ the runs


def students(*names: str, every_seed: bool = False) -> Callable[[Setting], list[Group]]:
    """Students on the named windows: of the first seed, or of several."""

    def groups(s: Setting) -> list[Group]:
        larger = {"teacher": "resnet8", "teacher_recipe": TEACHERS[s.preset]} if s.preset in TEACHERS else {}
        fixed = {**KEPT, **larger, **s.pair("resnet50", "mobilenetv2"), **KD}
        chosen = [PRUNINGS[name] for name in names]
        return [Group("students", {"seed": s.few if every_seed else s.seeds[:1], "pruning": chosen}, fixed)]

    return groups


# ------------------------------------------------------------------------------------ while they train


def _description(r: Run) -> dict[str, Any]:
    seen = {"classes": list(CLASSES), "shown": SHOWN, "pairs": PAIRS, "through": list(THROUGH)}
    return {**describe(r), "followed": seen}


def followed(r: Run, store: Store) -> Arrays | None:
    """What was seen while the run's student trained, or None where nobody has looked; see `follow_all`."""
    description = _description(r)
    return store.arrays("followed", description, dict) if store.has("followed", description) else None


def follow_all(runs: Sequence[Run], store: Store, *, rows: bool = False) -> dict[Run, dict[str, Any]]:
    """Train the students of runs with one teacher, store what is seen meanwhile, and return their accuracies.

    Stored for each run: `gradient` (E,), the length of the last layer's gradient on the kept samples after each epoch;
    `features` (3, n, D) of the drawn samples after `THROUGH` of the epochs; `information` (1,), nats that the student's
    class tells about the teacher's at the end; `test_acc` (1,) percent. `rows`: store the runs' rows as well.
    ValueError if a training diverges.
    """
    for r, epochs in zip(runs, follow(runs, _looking(runs, store), store, rows=rows), strict=True):
        store.arrays("followed", _description(r), partial(_gathered, r, epochs))
    return {r: row for r in runs if (row := followed_row(r, store)) is not None}


def followed_row(r: Run, store: Store) -> dict[str, Any] | None:
    """The row of a run that was followed, or None."""
    found = followed(r, store)
    return None if found is None else {"test_acc": float(found["test_acc"][0])}


def _gathered(r: Run, epochs: Sequence[Arrays]) -> Arrays:
    """The arrays of a run, from what was seen after each of its epochs."""
    if len(epochs) < r.epochs:
        raise ValueError(f"the training on {window_of(r)} samples diverged in epoch {len(epochs)}; take another preset")
    features = [epochs[_epoch(len(epochs), share) - 1]["features"] for share in THROUGH]
    last = {name: epochs[-1][name] for name in ("information", "test_acc")}
    return {"gradient": np.array([at["gradient"] for at in epochs]), "features": np.stack(features), **last}


def _epoch(epochs: int, share: float) -> int:
    """The epoch (1-based) after which a share of all is over."""
    return max(1, round(epochs * share))


def _looking(runs: Sequence[Run], store: Store) -> Look[Arrays]:
    """What is looked at after an epoch: the gradient always, and the rest where `_gathered` asks for it."""
    data, teacher = dataset_of(runs[0]), load_teacher(runs[0], store)
    points = boundaries.points_between(data.test_x, data.test_y.numpy(), PAIRS, np.random.default_rng(POINTS))
    said = boundaries.classes(partial(predict, teacher, data=data), points)
    images, logits = normalise(data.train_x, data.mean, data.std), predict(teacher, data.train_x, data).cpu()
    kept, drawn = [torch.from_numpy(kept_samples(r, store)) for r in runs], drawn_samples(runs[0])

    def look(i: int, epoch: int, student: torch.nn.Module) -> Arrays:
        r, own = runs[i], kept[i]
        kd = partial(LOSSES["kd"], teacher=logits[own], labels=data.train_y[own], alpha=r.alpha, tau=r.tau)
        found = {"gradient": np.array(boundaries.last_layer_gradient(student, images[own], kd))}
        if epoch in {_epoch(r.epochs, share) for share in THROUGH}:
            found["features"] = embeddings(student, data)[drawn]
        if epoch == r.epochs:
            answers = boundaries.classes(partial(predict, student, data=data), points)
            found["information"] = np.array([mutual_info_score(said, answers)])
            found["test_acc"] = accuracy(predict(student, data.test_x, data).cpu(), data.test_y).numpy()[None]
        return found

    return look


# ------------------------------------------------------------------------------------ the drawings


def drawn_samples(r: Run) -> NDArray[np.int64]:
    """Sorted ids of the training samples that are drawn: the first of each of the three classes."""
    labels = dataset_of(r).train_y.numpy()
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:SHOWN] for c in CLASSES]))


def _map(features: NDArray, drawn: Drawn) -> NDArray[np.float32]:
    """The t-SNE map (n, 2) of features (n, D)."""
    return boundaries.tsne(features, steps=MAP_STEPS.get(drawn.setting.preset, 1000))


def _panels(r: Run, maps: Mapping[str, NDArray], chosen: Mapping[str, NDArray]) -> Figure:
    """A panel for each map (n, 2), with the regions of a classifier trained on the chosen samples, bool (n,)."""
    labels = np.searchsorted(CLASSES, dataset_of(r).train_y.numpy()[drawn_samples(r)])
    panels, xs, ys = {}, {}, {}
    for name, xy in maps.items():
        xs[name], ys[name], at = plots.grid_over(xy, SIDE)
        found = boundaries.classified(xy[chosen[name]], labels[chosen[name]], at).reshape(SIDE, SIDE)
        panels[name] = (found, plots.Scatter(xy, labels, chosen[name]))
    return plots.maps(panels, xs, ys, ("t-SNE 1 (no unit)", "t-SNE 2 (no unit)"), len(CLASSES))


def _kept(r: Run, drawn: Drawn) -> NDArray[np.bool_]:
    """Which of the drawn samples the run keeps, bool (n,)."""
    return np.isin(drawn_samples(r), kept_samples(r, drawn.store))


def teacher_space(drawn: Drawn) -> Figure:
    """The teacher's features: regions of a classifier trained on all, on the hard and on the easy samples of the map."""
    (r,) = drawn.runs
    xy = _map(embeddings(load_teacher(r, drawn.store), dataset_of(r))[drawn_samples(r)], drawn)
    chosen = {"full": np.ones(len(xy), bool)}
    chosen |= {name: _kept(replace(r, **PRUNINGS[name]), drawn) for name in ("hard", "easy")}
    return _panels(r, dict.fromkeys(chosen, xy), chosen)


def student_spaces(drawn: Drawn) -> Figure:
    """The features of each student, and the regions of a classifier trained on the samples that it was trained on."""
    maps, chosen = {}, {}
    for r in drawn.runs:
        features = embeddings(load_student(r, drawn.store), dataset_of(r))[drawn_samples(r)]
        maps[window_of(r)], chosen[window_of(r)] = _map(features, drawn), _kept(r, drawn)
    return _panels(r, maps, chosen)


def spaces_after(share: float) -> Callable[[Drawn], Figure]:
    """`student_spaces` as they were after a share of the epochs, one of `THROUGH`."""

    def draw(drawn: Drawn) -> Figure:
        maps, chosen = {}, {}
        for r in drawn.runs:
            name = f"{window_of(r)}, epoch {_epoch(r.epochs, share)}/{r.epochs}"
            maps[name] = _map(_seen(r, drawn)["features"][THROUGH.index(share)], drawn)
            chosen[name] = _kept(r, drawn)
        return _panels(r, maps, chosen)

    return draw


def _seen(r: Run, drawn: Drawn) -> Arrays:
    found = followed(r, drawn.store)
    if found is None:
        raise ValueError("what was seen of a student is gone from the store; plan the figure again")
    return found


def gradients_and_information(drawn: Drawn) -> Figure:
    """The standard deviation of the gradient's length over the epochs, and the mutual information, for each window."""
    records = []
    for r in drawn.runs:
        seen = _seen(r, drawn)
        spread, nats = np.std(seen["gradient"], ddof=1), float(seen["information"][0])
        records.append({"group": window_of(r), "seed": r.seed, "gradient_sd": spread, "mutual_information": nats})
    return plots.measures(pd.DataFrame(records), QUANTITIES)


# ------------------------------------------------------------------------------------ the entries

THREE = students("hard", "easy", "medium")
NOTE = (
    f"Drawn are the classes number {', '.join(map(str, CLASSES[:-1]))} and {CLASSES[-1]}; the kept samples are dark. "
    "A t-SNE map distorts distances and depends on its seed: lesson 10 measures how much, and the drift without a map."
)


def _entry(name: str, title: str, groups: Any, draw: Any, **more: Any) -> PaperFigure:
    shown: dict[str, Any] = {"students": True, "note": NOTE, **more}
    return PaperFigure(name, title, ("cifar100",), groups, by_window, draw, **shown)


def _evolution(name: str, epochs: int, share: float) -> PaperFigure:
    title = f"The student's feature space after {epochs} of 240 epochs"
    return _entry(name, title, THREE, spaces_after(share), follows=True)


FIGURES = by_name(
    [
        _entry(
            "md-fig1",
            "The teacher's feature space: boundaries of full, hard and easy samples",
            students("hard"),
            teacher_space,
        ),
        _entry(
            "md-fig2",
            "The student's feature space: boundaries of hard, easy and medium samples",
            THREE,
            student_spaces,
        ),
        _evolution("md-fig7", 120, THROUGH[0]),
        _evolution("md-fig8", 160, THROUGH[1]),
        _evolution("md-fig9", 240, THROUGH[2]),
        _entry(
            "md-table2",
            "How much gradients vary and how much student and teacher agree, for easy, medium and hard samples",
            students("easy", "medium", "hard", every_seed=True),
            gradients_and_information,
            follows=True,
            note="In the paper both quantities fall from easy over medium to hard samples; it does not print how its mutual "
            "information is computed. Ours is that of the classes which student and teacher predict between test samples.",
        ),
    ]
)
