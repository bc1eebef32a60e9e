"""Sweeps: the same rows on every executor, nothing trained twice, one bad run does not stop the others."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdlib.experiments import grid, sweep_report
from kdlib.experiments.grid import SweepError, points
from kdlib.store.artefacts import MARKER, Store, StoreError, key
from kdlib.utils import progress
from tests import tiny_experiment
from tests.experiments.sweeps import TINY, child_sweep, lines, plan, same, tiny


def test_rows_come_in_grid_order_and_are_stored(tmp_path, journal):
    first = tiny(tmp_path / "s", journal=str(journal))
    assert list(zip(first.width, first.seed, strict=True)) == list(itertools.product([2, 3], [0, 1, 2]))
    made = lines(journal)
    assert len(made) == 6 + 2  # six runs, two teachers
    again = tiny(tmp_path / "s", journal=str(journal))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert lines(journal) == made


def test_a_wider_grid_trains_only_what_is_new(tmp_path, journal):
    tiny(tmp_path / "s", journal=str(journal))
    tiny(tmp_path / "s", {"width": [3, 4], "seed": [2, 3]}, journal=str(journal))
    new = lines(journal)
    assert len(new) == 8 + 3 + 1 and len(set(new)) == len(new)


def test_three_executors_one_table(tmp_path):
    alone = tiny(tmp_path / "alone")
    both = tiny(tmp_path / "both", workers=2)
    dask = tiny(tmp_path / "dask", workers=2, cluster="local")
    same(alone, both)
    same(alone, dask)
    assert set(alone.pid) == {os.getpid()}
    assert os.getpid() not in set(both.pid) | set(dask.pid)


def test_teachers_are_made_once_by_many_workers(tmp_path, journal):
    grid = {"seed": list(range(6))}
    tiny(tmp_path / "s", grid, workers=3, width=5, pause=0.2, journal=str(journal))
    assert lines(journal).count("teacher 5") == 1
    assert len(lines(journal)) == 7


def test_distinct_teachers_are_asked_for_first():
    runs = points(tiny_experiment.Run, {"width": [2, 3, 4], "seed": [0, 1]}, {})
    jobs = plan(tiny_experiment, dict(enumerate(runs)))
    assert [job.runs[0].width for job in jobs] == [2, 3, 4, 2, 3, 4]


def test_runs_without_a_teacher_fill_the_time_until_it_is_there(monkeypatch):
    needs = tiny_experiment.needed_artefacts
    monkeypatch.setattr(tiny_experiment, "needed_artefacts", lambda run: needs(run) if run.seed < 2 else [])
    runs = points(tiny_experiment.Run, {"seed": [0, 1, 2, 3]}, {"width": 2})
    assert [job.places for job in plan(tiny_experiment, dict(enumerate(runs)))] == [(0,), (2,), (3,), (1,)]


def test_companies_are_parts_of_equal_size(monkeypatch):
    monkeypatch.setattr(tiny_experiment, "batch_key", lambda run: run.width, raising=False)
    runs = points(tiny_experiment.Run, {"width": [2, 3], "seed": list(range(10))}, {})
    jobs = plan(tiny_experiment, dict(enumerate(runs)))
    assert [len(job.places) for job in jobs] == [5, 5, 5, 5]
    assert sorted(place for job in jobs for place in job.places) == list(range(20))
    assert all(len({run.width for run in job.runs}) == 1 for job in jobs)
    assert [len(job.places) for job in plan(tiny_experiment, {3: runs[3]}, together=False)] == [1]


def test_many_groups_are_parted_for_their_size_alone(monkeypatch):
    """They keep several workers busy as they are, and large ones take less time."""
    monkeypatch.setattr(tiny_experiment, "batch_key", lambda run: run.width, raising=False)
    for seeds, sizes in ((10, [10] * 4), (30, [15] * 8)):
        runs = points(tiny_experiment.Run, {"width": [2, 3, 4, 5], "seed": list(range(seeds))}, {})
        assert [len(job.places) for job in plan(tiny_experiment, dict(enumerate(runs)))] == sizes


@pytest.mark.parametrize(
    ("grid", "fixed", "words"),
    [
        ({"sed": [0]}, {}, "did you mean 'seed'"),
        ({"seed": [0]}, {"widht": 3}, "did you mean 'width'"),
        (None, {}, "the grid is a dict of fields and lists of values"),
        ({"seed": 3}, {}, "list of values for 'seed'"),
        ({"mood": "well"}, {}, "list of values for 'mood'"),
        ({"seed": [0]}, {"seed": 1}, "both in the grid and fixed"),
        ({"width": [3, 2, 0]}, {}, "width is 1 or more"),
    ],
)
def test_bad_grids_end_before_anything_is_made(tmp_path, journal, grid, fixed, words):
    with pytest.raises(ValueError, match=words):
        tiny(tmp_path / "s", grid, **{"journal": str(journal), **fixed})
    assert lines(journal) == [] and not (tmp_path / "s").exists()


@pytest.mark.parametrize(("workers", "cluster"), [(0, None), (1.5, None), (1, "somewhere")])
def test_bad_executors(tmp_path, workers, cluster):
    with pytest.raises(ValueError, match="workers is|cluster is"):
        tiny(tmp_path / "s", workers=workers, cluster=cluster)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_failing_run_does_not_stop_the_others(tmp_path, workers):
    grid = {"mood": ["well", "raises"], "seed": [0, 1]}
    with pytest.raises(SweepError, match="2 of 4 runs failed; the other 2 are stored") as caught:
        tiny(tmp_path / "s", grid, workers=workers)
    assert "mood=raises seed=1: ArithmeticError: this run is not well" in str(caught.value)
    assert list(caught.value.rows.seed) == [0, 1]
    assert len(Store(tmp_path / "s").rows()) == 2  # a failure is not a row: the next call tries again


def test_a_diverged_run_is_a_row(tmp_path, journal):
    table = tiny(tmp_path / "s", {"mood": ["diverges", "well"]}, journal=str(journal))
    assert list(table.status) == ["diverged", "ok"] and np.isnan(table.error[0])
    again = tiny(tmp_path / "s", {"mood": ["diverges", "well"]}, journal=str(journal))
    pd.testing.assert_frame_equal(table, again)
    assert len(lines(journal)) == 3


def test_rows_name_what_they_were_made_from(tmp_path):
    tiny(tmp_path / "s")
    store = Store(tmp_path / "s")
    teacher = {width: ["teachers", key("teachers", {"width": width})] for width in (2, 3)}
    assert all(found["needs"] == [teacher[found["row"]["width"]]] for found in store.each_row())
    assert list((tmp_path / "s").glob("sweeps/*")) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_sweep_keeps_its_teachers(tmp_path, journal, workers):
    """Before its first row is there, gc has nothing else to know it by."""
    with pytest.raises(SweepError):
        tiny(tmp_path / "s", {"mood": ["raises"], "seed": [0, 1]}, workers=workers)
    store = Store(tmp_path / "s")
    then = time.time() - 2 * 86400
    os.utime(store.ls("teachers")[0].path, (then, then))
    assert store.rows() == [] and store.unneeded() == []


def test_interrupted_groups_stay_together(monkeypatch):
    monkeypatch.setattr(tiny_experiment, "batch_key", lambda run: run.width, raising=False)
    runs = dict(enumerate(points(tiny_experiment.Run, {"seed": list(range(10))}, {})))
    name = [key("rows", tiny_experiment.describe(run)) for run in runs.values()]
    jobs = plan(tiny_experiment, runs, interrupted=[[name[7], name[2], name[3]]])
    assert sorted(job.places for job in jobs) == [(0, 1, 4, 5, 6, 8, 9), (7, 2, 3)]
    assert all(job.sent[1] == [name[place] for place in job.places] for job in jobs)


def test_equal_points_are_one_run(tmp_path, journal):
    table = tiny(tmp_path / "s", {"seed": [4, 4, 4]}, journal=str(journal))
    assert len(table) == 3 and lines(journal).count("run 3 4") == 1


def test_rows_carry_the_knobs_that_were_asked_for(tmp_path, monkeypatch):
    """Two runs that share a description share a row, and each gets its own knobs back."""
    monkeypatch.setattr(tiny_experiment, "describe", lambda run: {"width": run.width, "seed": run.seed})
    first = tiny(tmp_path / "s", {"pause": [0.0, 0.01]})
    again = tiny(tmp_path / "s", {"pause": [0.02]})
    assert list(first.pause) == [0.0, 0.01] and list(again.pause) == [0.02]
    assert len(Store(tmp_path / "s").rows()) == 1


def test_two_sweeps_share_the_work(tmp_path, journal):
    """Two processes start the same sweep: together they train each run once, both get the whole table."""
    code = (
        "import sys; from kdlib.experiments.grid import sweep_of\n"
        f"t = sweep_of({TINY!r}, {{'seed': list(range(8))}}, 1, None, sys.argv[1], False,"
        " {'journal': sys.argv[2], 'pause': 0.15})\n"
        "print(len(t), t.pid.nunique())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s"), str(journal)]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [child.communicate(timeout=60)[0].split() for child in pair]
    assert answers == [["8", "2"]] * 2
    assert len(lines(journal)) == 9


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_is_finished(tmp_path, journal, workers):
    child = child_sweep(tmp_path, journal, workers)
    store = Store(tmp_path / "s")
    deadline = time.monotonic() + 60
    while len(store.rows()) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    errors = child.communicate(timeout=30)[1]
    assert "the same call goes on from there" in errors and child.returncode != 0
    kept = len(store.rows())
    assert 5 <= kept < 40 and list((tmp_path / "s" / "leases").glob("*")) == []
    table = tiny(tmp_path / "s", {"seed": list(range(40))}, journal=str(journal), pause=0.1)
    assert len(table) == 40 and sum(line.startswith("run") for line in lines(journal)) <= 40 + workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_gets_plain_lines_now_and_then(tmp_path, capsys, monkeypatch, workers):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setenv("KDLIB_PROGRESS", "lines")
    tiny(tmp_path / "s", progress=True, workers=workers)
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"6 of 6 runs, last width=\d seed=\d: ok, 0:00:00 left", err.splitlines()[-1])


def test_quick_work_is_silent_after_its_first_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 60.0)
    monkeypatch.setenv("KDLIB_PROGRESS", "lines")
    tiny(tmp_path / "s", progress=True)
    assert len(capsys.readouterr().err.splitlines()) == 1
    tiny(tmp_path / "s2", progress=False)
    assert capsys.readouterr().err == ""


def test_time_left_leaves_out_what_is_shared(monkeypatch):
    """Two of four runs are done: the first had to wait for a teacher, which the others will not."""
    said = []
    line = progress.Line(lambda text, milestone: said.append(text))
    report = sweep_report.Report(line, 4, [SimpleNamespace(fraction=f, epochs=1) for f in (0.1, 0.1, 0.2, 0.2)], [], 1)
    monkeypatch.setattr(report, "began", report.began - 1000)
    for _ in range(2):
        run = SimpleNamespace(fraction=0.1, epochs=1)
        report.finished({"row": {"student_seconds": 10.0, "teacher_seconds": 900.0}}, run)
    assert said[-1].endswith("0:00:40 left"), "the other two keep twice as many samples"


def test_a_full_disk_stops_the_sweep_with_one_line(tmp_path, monkeypatch):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))  # the kernel refuses every file over 64 bytes
    try:
        with pytest.raises(StoreError, match="cannot use the store .*: File too large; raise the file-size") as caught:
            tiny(tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "s").rglob("*") if path.is_file()] == [MARKER]


@pytest.mark.parametrize(
    ("missing", "message"),
    [("distributed", "needs Dask: pip install"), ("msgpack", r"Dask is there and cannot be loaded \(.*msgpack")],
)
def test_what_is_missing_of_dask_is_named(tmp_path, monkeypatch, missing, message):
    def refuse(name):
        raise ImportError(f"cannot import {missing}", name=missing)

    monkeypatch.setattr(grid.importlib, "import_module", refuse)
    with pytest.raises(ValueError, match=message):
        grid._check_executor(2, "local")


def test_a_table_begins_with_what_varied_and_what_came_out(tmp_path):
    table = tiny(tmp_path / "s", {"seed": [0, 1], "mood": ["well"]})
    assert list(table)[:3] == ["seed", "mood", "status"] and "width" in table
