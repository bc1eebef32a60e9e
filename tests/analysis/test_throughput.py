"""The committed table of speed is read as it is written, under both names of the logit cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.throughput import HEADER, Row
from kdlib.analysis import throughput


def written(folder: Path, word: str) -> Path:
    base, theirs = "resnet8, KD, one thread", (50.0,)
    rows = [
        Row(
            f"{base}, {word} filled", "images/CPU s", (100.0, 90.0, 110.0), theirs, (2.0,), "1.8x", 200.0, "per second"
        ),
        Row(f"{base}, teacher computed afresh", "images/CPU s", (80.0,), theirs, (1.6,), "", 150.0, ""),
        Row(
            f"{base}, {word} filled, bfloat16",
            "images/CPU s",
            (1400.0, 1370.0, 1410.0),
            theirs,
            (28.0,),
            "",
            3220.0,
            "",
        ),
        Row("no GPU", "", target="14x"),
    ]
    file = folder / "throughput.md"
    file.write_text(
        "\n".join(["cpu: a chip", "cores: 2", "", HEADER, *(row.line() for row in rows)]) + "\n\ntook 3 s\n"
    )
    return file


@pytest.mark.parametrize("word", ["cache", "bank"])
def test_a_table_is_read_back_and_its_rungs_come_in_order(tmp_path: Path, word: str) -> None:
    machine, rows = throughput.read(written(tmp_path, word))
    assert machine["cpu"] == "a chip" and machine["cores"] == "2" and len(rows) == 4
    assert rows.engine.tolist()[:3] == [100, 80, 1400] and rows.engine.isna().tolist() == [False, False, False, True]
    found = throughput.ladder(rows, "resnet8")
    assert found.rung.tolist() == ["conventional loop", "engine, teacher asked anew", "cached logits", "in bfloat16"]
    assert found.rate.tolist() == [50, 80, 100, 1400] and found.limit.tolist()[1:] == [150, 200, 3220]
    assert found.limit.isna().tolist() == [True, False, False, False]
    assert found.low.tolist() == [50, 80, 90, 1370] and found.high.tolist() == [50, 80, 110, 1410]
    assert found.ratio.tolist() == [1, 1.6, 2, 28] and found.ratio_low.tolist() == [1, 1.6, 2, 28]


def test_what_is_no_such_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# nothing\n")
    with pytest.raises(ValueError, match="holds no table"):
        throughput.read(tmp_path / "other.md")
    with pytest.raises(ValueError, match="no figures of vgg"):
        throughput.ladder(throughput.read(written(tmp_path, "cache"))[1], "vgg")


def test_the_committed_files_hold_what_the_lesson_shows() -> None:
    machine, rows = throughput.read()
    assert {"cpu", "cores", "gpu"} <= set(machine)
    for model in ("resnet8", "resnet20"):
        found = throughput.ladder(rows, model)
        assert {"conventional loop", *throughput.RUNGS.values()} == set(found.rung) and found.rate.notna().all()
    assert len(throughput.equivalence()) == 4
