"""The benchmarks' own parts: the conventional loop learns, the GPU programs run dry, stop and go on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import transforms

from benchmarks import gpu, laptop_study, machine, paper_on_gpu
from benchmarks.conventional import Conventional, DistillKL, Images, loaders, one_cycle
from benchmarks.throughput import Row
from kdlib import PRESETS, Run
from kdlib.experiments.grid import load_rows
from kdlib.losses import kd
from kdlib.models import build
from tests.plain import CLASSES, small_data

DATA = small_data()


def test_the_conventional_loop_learns_and_keeps_its_meters() -> None:
    torch.manual_seed(0)
    training, test = loaders(DATA, 16, True, 0)
    loop = Conventional(build("mlp", CLASSES, 3, 8), build("resnet8", CLASSES, 3, 8), lr=0.05, rate=one_cycle)
    loop.fit(training, 8)
    assert len(loop.losses) == len(loop.top1) == 8 and loop.losses[-1] < loop.losses[0]
    assert loop.top1[-1] > 50 > loop.top1[0] and 0 <= loop.accuracy(test) <= 100


def test_its_images_are_the_pixels_and_its_kd_term_the_papers() -> None:
    images = Images(DATA.train_x, DATA.train_y, transforms.ToTensor())
    np.testing.assert_allclose(images[3][0].numpy(), DATA.train_x[3].numpy() / 255, rtol=1e-6)
    assert images[3][1] == int(DATA.train_y[3])
    student, teacher = torch.randn(2, 6, CLASSES, generator=torch.Generator().manual_seed(0))
    ours = kd(student, teacher, torch.zeros(6, dtype=torch.int64), alpha=1.0, tau=3.0).mean()
    assert float(DistillKL(3.0)(student, teacher)) == pytest.approx(float(ours), rel=1e-5)


def test_flops_are_those_of_the_layers() -> None:
    forward, both = machine.flops("mlp", 10, 1, 8)
    layers = 2 * (64 * 128 + 128 * 128 + 128 * 10)
    assert forward == layers and both == 3 * layers - 2 * 64 * 128  # the images need no gradient
    assert machine.flops("resnet8", 100, 3, 32)[0] == pytest.approx(25.0e6, rel=0.02)


def test_a_row_of_the_table_says_how_near_the_limit_is() -> None:
    rate = Row("a", "images/CPU s", (50.0, 40.0, 60.0), (20.0,), (2.5,), "1.8x", limit=100.0)
    assert "| 50 (40-60) | 20 | 2.5x | 1.8x | 100 (50% reached) |" in rate.line()
    assert "10 (25% reached)" in Row("b", "s", (40.0,), limit=10.0).line()


def test_cpu_seconds_count_children_and_peak_memory_leaves_files_out(tmp_path: Path) -> None:
    before = machine.cpu_seconds()
    machine.python("sum(range(10**7))").wait()
    assert machine.cpu_seconds() - before > 0.05
    if not Path("/proc/self/smaps").exists():
        pytest.skip("needs Linux")
    folder = tmp_path / "banks"
    folder.mkdir()
    code = (
        "import numpy as np, time; a = np.ones(5_000_000);"
        f"m = np.memmap({str(folder / 'file')!r}, dtype=np.uint8, mode='w+', shape=60_000_000); m[:] = 1; time.sleep(1)"
    )
    total, beyond = machine.peak_memory(machine.python(code), mapped="/banks/", every=0.02)
    assert 55e6 < total - beyond < 65e6 and beyond > 40e6


def test_the_gpu_benchmark_runs_dry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(gpu.PARTS, "processes")  # starts interpreters of its own
    gpu.main(["--dry-run", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert not [name for name in gpu.PARTS if "error" in results[name]]
    assert all(case["weights"] < 1e-3 and case["loss"] < 1e-4 for case in results["correctness"].values())
    assert results["summary"]["ratio"] > 0 and "conv" in (tmp_path / "profile.txt").read_text()


def test_a_part_that_fails_does_not_take_the_others_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: gpu.Plan, device: torch.device) -> dict:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu, "PARTS", {"peaks": gpu.peaks, "correctness": broken, "conventional": gpu.conventional})
    results = gpu.main(["--dry-run", "--out", str(tmp_path)])
    assert "no such kernel" in results["correctness"]["error"] and results["conventional"]["best"] > 0


def test_the_papers_panel_takes_its_own_rows_only() -> None:
    own = {**asdict(Run(**paper_on_gpu.DRY)), "test_acc": 90.0, "device": "cpu"}
    rows = [own, {**own, "loss": "cross_entropy", "alpha": 0.9}, {**own, "epochs": 60}, {**own, "dataset": "cifar10"}]
    found = paper_on_gpu.own(
        [*rows, {**own, "feature_loss": "vid"}, {**own, "scorer": "el2n", "fraction": 0.3}], paper_on_gpu.DRY
    )
    assert found == [rows[0], rows[1], {**own, "scorer": "el2n", "fraction": 0.3}]
    laptop = {**asdict(Run(**PRESETS["laptop"].fixed, scorer="forgetting")), "test_acc": 20.0}
    mixed = [laptop, {**laptop, "validation": True}, {**laptop, "scorer": "el2n"}, own]
    assert laptop_study.of_the_study(mixed) == [laptop]


def test_the_papers_panel_stops_at_its_time_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    common = ["--dry-run", "--store", str(tmp_path / "store"), "--results", str(tmp_path / "rows.jsonl")]
    assert not paper_on_gpu.main([*common, "--minutes", "0.02"])
    assert "goes on from here" in capsys.readouterr().out
    assert paper_on_gpu.main([*common, "--minutes", "10"])
    rows = load_rows(tmp_path / "rows.jsonl")
    panel = {
        (f, s, loss)
        for f in (0.1, 0.3)
        for s in ("random", "forgetting", "el2n", "grand")
        for loss in ("kd", "cross_entropy")
    }
    panel |= {(1.0, "random", loss) for loss in ("kd", "cross_entropy")}
    assert set(zip(rows.fraction, rows.scorer, rows.loss, strict=True)) == panel and len(rows) == len(panel)
    assert not paper_on_gpu.main([*common, "--minutes", "0"])  # no time at all: nothing is lost
    assert len(load_rows(tmp_path / "rows.jsonl")) == len(panel)
