"""Tables of measurements for the claims that accuracies cannot decide, from the students of the studies.

    measure("D14", store)      trains the students that are missing, measures them, and writes data/results/records/D14.csv

To add a claim: a function from a run to its records, and an entry in `MEASURED`. The columns are those of
`kdlib.analysis.claims.RECORDS`, with data, networks and epochs, and `run`, which tells a training from others, so that a table
that was begun is gone on with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdlib.analysis.claims.records import GROUPS, OF_STUDY, class_relations, relation_similarity
from kdlib.analysis.noise import wrong_among_kept
from kdlib.analysis.reproduction import boundaries
from kdlib.experiments import study
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of, needs_teacher
from kdlib.experiments.groups import PRUNINGS
from kdlib.experiments.run import kept_samples, load_student, load_teacher
from kdlib.store.artefacts import Store
from kdlib.training.evaluate import predict
from kdlib.utils import paths
from kdlib.utils.errors import choose
from kdlib.utils.files import write_whole

Records = list[dict[str, Any]]
GROUP_SIZE = 0.3  # of the data in each group of difficulty, as in MD's Fig. 3


def relations(r: Run, store: Store) -> Records:
    """D14: how much the student's class relations on the test images resemble the teacher's; for one without KD, too."""
    data = dataset_of(r)
    taught = replace(r, loss="kd") if not needs_teacher(r) else r
    networks = load_student(r, store), load_teacher(taught, store)
    student, teacher = (
        class_relations(predict(one, data.test_x, data).cpu().numpy(), data.test_y.numpy()) for one in networks
    )
    weight = {"fraction": r.fraction, "alpha": r.alpha if needs_teacher(r) else 0.0}
    return [{**weight, "similarity": relation_similarity(student, teacher)}]


def mislabelled(r: Run, store: Store) -> Records:
    """D15: the share of wrong labels among the highest-scoring samples."""
    found = wrong_among_kept([r], store)[["scorer", "label_noise", "fraction", "base_rate", "share"]]
    return [{str(name): value for name, value in record.items()} for record in found.to_dict("records")]


def stability(r: Run, store: Store) -> Records:
    """M6: the spread of the last layer's gradient over the epochs, and what the student tells about the teacher."""
    if boundaries.followed(r, store) is None:
        boundaries.follow_all([r], store, rows=True)  # the study needs these trainings, too
    seen = boundaries.followed(r, store)
    assert seen is not None, "it was stored a line above"
    spread, nats = np.std(seen["gradient"], ddof=1), float(seen["information"][0])
    return [{"group": boundaries.window_of(r), "gradient_sd": spread, "mutual_information": nats}]


def gaps(r: Run, store: Store) -> Records:
    """M7: the accuracy (percent) of a student of all data and of its teacher on easy, medium and hard training samples."""
    data, found = dataset_of(r), list[dict[str, Any]]()
    right = {
        name: (predict(network, data.train_x, data).argmax(1).cpu() == data.train_y).numpy()
        for name, network in (("student_acc", load_student(r, store)), ("teacher_acc", load_teacher(r, store)))
    }
    for group in GROUPS:
        ids = kept_samples(replace(r, **PRUNINGS[group], fraction=GROUP_SIZE), store)
        found.append({"group": group, **{name: 100 * float(hits[ids].mean()) for name, hits in right.items()}})
    return found


def _of_one_rate(r: Run) -> bool:
    """One rate of noise, since a verdict averages the runs of a seed; the smaller, at which "mostly" is harder to reach."""
    return r.scorer == "forgetting" and not needs_teacher(r) and r.label_noise == 0.2


# claim -> (the study and its group whose runs are measured, which of them, what is measured of one)
MEASURED: dict[str, tuple[str, str, Callable[[Run], bool], Callable[[Run, Store], Records]]] = {
    "D14": ("large", "Class relations", lambda r: True, relations),
    "D15": ("noise", "Label noise", _of_one_rate, mislabelled),
    "M6": ("windows", "MD Table 1, f = 0.3", lambda r: r.scorer != "random" and r.seed < 3, stability),
    "M7": ("reshapes", "MD, 70% with the method against KD on all data", lambda r: r.fraction == 1, gaps),
}


def runs_of(claim: str) -> list[Run]:
    """The runs that are measured for a claim; ValueError for a claim that is not decided by such a table."""
    name, wanted, belongs, _ = choose("claim with a table of records", claim, MEASURED)
    return [r for r, group in study.runs_of(name).items() if group == wanted and belongs(r)]


def file_of(claim: str) -> Path:
    """Where the table of a claim lies."""
    return paths.data() / "results" / "records" / f"{claim}.csv"


def measure(claim: str, store: Store) -> Iterator[tuple[int, int]]:
    """Measure what the claim's table lacks and write it after each run; yields how many runs are in it, and of how many."""
    runs, file = runs_of(claim), file_of(claim)
    taken = MEASURED[claim][3]
    table = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=["run"])
    for r in runs:
        key = hashlib.sha256(study.identity(r).encode()).hexdigest()[:12]
        if key not in set(table["run"]):
            about = {name: getattr(r, name) for name in (*OF_STUDY, "seed", "teacher_seed")} | {"run": key}
            new = pd.DataFrame([{**about, **record} for record in taken(r, store)])
            table = new if table.empty else pd.concat([table, new], ignore_index=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, table.to_csv(index=False, float_format="%.6g"))
        yield table["run"].nunique(), len(runs)
