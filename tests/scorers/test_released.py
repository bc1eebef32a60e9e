"""The scorer `released`: a published table of scores, from `run`, `sweep` and the command line."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdlib import Run, Store, run, sweep
from kdlib.__main__ import main
from kdlib.experiments.config import method_options
from kdlib.experiments.fingerprint import dataset_of, describe
from kdlib.experiments.run import kept_samples, needed_artefacts
from kdlib.scorers import released
from kdlib.store.artefacts import key
from kdlib.utils.calls import call_text

SHORT = {"epochs": 1, "lr": 0.01, "batch_size": 8, "fraction": 0.5, "loss": "cross_entropy"}


def released_by(file: Path | str, **options: object) -> str:
    """The scorer `released` with a table and further options."""
    return call_text("released", {"file": str(file), **options})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training and two test images of each of two classes; every file has a name of its own."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = (rng.integers(0, 60, (8, 8)) + 150 * label).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{split}_{name}_{i:02}.png")
    return root


@pytest.fixture
def published(pictures: Path, tmp_path: Path) -> Callable[..., Run]:
    """`published(scores)`: a run that reads them, in the order of the training samples, from a new table.

    `options` are those of the scorer, further arguments are fields of `Run`.
    """

    def make(
        scores: Sequence[float], name: str = "scores.csv", options: Mapping[str, object] = {}, **changes: object
    ) -> Run:
        files = dataset_of(Run(dataset=f"folder:{pictures}")).train_files
        rows = [f"{Path(f).name},{s}" for f, s in zip(files, scores, strict=True)]
        (tmp_path / name).write_text("\n".join(["filename,score", *rows, ""]))
        scorer = released_by(tmp_path / name, **options)
        return Run(**{"dataset": f"folder:{pictures}", "scorer": scorer, **SHORT, **changes})  # type: ignore[arg-type]

    return make


def table_of(r: Run) -> Path:
    """The file that the run's scorer reads."""
    return Path(r.method("scorer")[1]["file"])


SCORES = np.random.default_rng(5).permutation(24)


def best(scores: np.ndarray, count: int = 6) -> list[int]:
    """The `count` highest of each class: 12 samples of one class, then 12 of the other."""
    return sorted(c * 12 + int(i) for c in range(2) for i in np.argsort(scores[c * 12 : c * 12 + 12])[-count:])


def test_the_table_ranks_the_samples(published: Callable[..., Run], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    r = published(SCORES)
    row = run(r, store)
    assert row["status"] == "ok" and row["kept"] == 12 and row["scorer"] == r.scorer
    assert kept_samples(r, store).tolist() == best(SCORES)
    assert kept_samples(published(SCORES, options={"high": "drop"}), store).tolist() == best(-SCORES)
    assert kept_samples(published(SCORES, label_noise=0.2, class_balanced=False), store).tolist() == sorted(
        np.argsort(SCORES)[12:].tolist()
    )
    assert list(needed_artefacts(r)) == [] and {entry.kind for entry in store.ls()} == {
        "rows"
    }  # no training for the scores


def test_columns_and_names_by_folder(pictures: Path, published: Callable[..., Run], tmp_path: Path) -> None:
    files = dataset_of(published(SCORES)).train_files
    rows = [f"/data/{f},{-s},{s},{s}" for f, s in zip(files, SCORES, strict=True)]
    (tmp_path / "wide.csv").write_text("\n".join(["where,el2n,memorization,where.png", *rows]).replace(".png", "", 1))
    wide = {"dataset": f"folder:{pictures}", **SHORT}
    r = Run(**wide, scorer=released_by(tmp_path / "wide.csv", image="where", column="memorization", parts=3))  # type: ignore[arg-type]
    assert kept_samples(r, Store(tmp_path)).tolist() == best(SCORES)
    assert describe(r) == describe(published(SCORES))  # the same scores: the same row
    with pytest.raises(ValueError, match="any of el2n, memorization, where.1 could be the column"):
        describe(Run(**wide, scorer=released_by(tmp_path / "wide.csv")))  # type: ignore[arg-type]


def test_the_cut_of_ccs_still_needs_a_training(published: Callable[..., Run], tmp_path: Path) -> None:
    r = published(SCORES, selection="ccs(hard_cut=0.25)")
    assert {kind for kind, _ in needed_artefacts(r)} == {"networks", "dynamics"}
    assert run(r, Store(tmp_path / "store"))["kept"] == 12


def test_a_row_is_known_by_the_tables_content(published: Callable[..., Run]) -> None:
    first = key("rows", describe(published(SCORES)))
    assert key("rows", describe(published(SCORES, name="elsewhere.csv"))) == first
    swapped = SCORES.copy()
    swapped[[3, 4]] = SCORES[[4, 3]]  # the same path, and as many bytes
    assert key("rows", describe(published(swapped))) != first
    assert key("rows", describe(published(SCORES, options={"high": "drop"}))) != first
    assert key("rows", describe(published(SCORES))) == first


def test_a_changed_table_is_trained_anew(published: Callable[..., Run], tmp_path: Path) -> None:
    def rows(scores: np.ndarray) -> list[dict]:
        r = published(scores)
        fixed = {**SHORT, "dataset": r.dataset, "store": tmp_path / "store", "progress": False}
        return sweep({"scorer": [r.scorer, "random"]}, **fixed).to_dict("records")

    first, again, other = rows(SCORES), rows(SCORES), rows(-SCORES)
    assert first == again and len(Store(tmp_path / "store").rows()) == 3
    assert first[0]["train_loss"] != other[0]["train_loss"] and first[1] == other[1]


def test_without_pruning_the_table_has_no_part(published: Callable[..., Run]) -> None:
    r = published(SCORES, fraction=1.0)
    table_of(r).unlink()
    assert describe(r) == describe(Run(**{**SHORT, "dataset": r.dataset, "fraction": 1.0}))  # type: ignore[arg-type]


def test_rows_of_held_out_images_are_known(pictures: Path, tmp_path: Path) -> None:
    """Class folders without a split, and a validation part: the table speaks of all images, the run trains on some."""
    files = sorted((pictures / "train").rglob("*.png"))
    (tmp_path / "all.csv").write_text("".join(f"{f.name},{i}.5\n" for i, f in enumerate(files)))
    knobs = {
        **SHORT,
        "dataset": f"folder:{pictures / 'train'}",
        "scorer": released_by(tmp_path / "all.csv"),
        "validation": True,
    }
    data = dataset_of(Run(**knobs))  # type: ignore[arg-type]
    kept = kept_samples(Run(**knobs), Store(tmp_path))  # type: ignore[arg-type]
    assert len(data.train_files) + len(data.other_files) == 24 and len(data.train_files) < 20
    for label in range(2):  # within a class the later file has the higher score
        mine = np.flatnonzero(data.train_y.numpy() == label)
        assert set(mine) & set(kept) == set(mine[-len(set(mine) & set(kept)) :])


BAD_TABLES = {
    "missing file": (None, {}, "cannot be read: No such file"),
    "no table": ("\0\0\n1,2\n1,2,3\n", {}, "scores.csv: "),
    "empty": ("", {}, "not a CSV table"),
    "no rows": ("filename,score\n", {}, "has no rows"),
    "unknown column": (lambda rows: rows, {"column": "scroe"}, "unknown column 'scroe'; did you mean 'score'"),
    "unknown image column": (lambda rows: rows, {"image": "file"}, "unknown image 'file'; did you mean"),
    "missing row": (lambda rows: rows[:-1], {}, "1 files have no row: train_dog_11.png"),
    "repeated row": (lambda rows: [*rows, rows[-1]], {}, "1 rows repeat a file name: train_dog_11.png"),
    "unknown row": (lambda rows: [*rows, "emu.png,3"], {}, "file (extra='ignore' skips them): emu.png"),
    "no number": (lambda rows: [*rows[:-1], "train_dog_11.png,hard"], {"column": "score"}, "1 scores are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_table_that_does_not_fit_is_refused_before_anything_is_trained(
    case: str,
    published: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    content, options, message = BAD_TABLES[case]
    r = published(SCORES, loss="kd", options=options)
    table = table_of(r)
    if content is None:
        table.unlink()
    elif isinstance(content, str):
        table.write_text(content)
    else:
        header, *rows = table.read_text().splitlines()
        table.write_text("\n".join([header, *content(rows), ""]))
    store = Store(tmp_path / "store")
    fixed = {name: value for name, value in asdict(r).items() if name != "seed"}
    for attempt in (lambda: run(r, store), lambda: sweep({"seed": [0, 1]}, store=store, **fixed)):
        with pytest.raises(ValueError) as refused:
            attempt()
        assert message in str(refused.value) and "\n" not in str(refused.value)
    monkeypatch.setenv("KDLIB_STORE", str(store.root))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**SHORT, "loss": "kd"}.items()]
    files = ["--dataset", r.dataset, "--scorer", r.scorer]
    for command in (["run", *flags, *files], ["sweep", *flags, *files, "--grid", "seed=0,1"]):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.err.startswith("kdlib: ") and message in said.err and said.err.count("\n") == 1 and not said.out
    assert not store.ls()


def test_rows_of_unknown_files_can_be_skipped(published: Callable[..., Run], tmp_path: Path) -> None:
    r = published(SCORES, options={"extra": "ignore"})
    with table_of(r).open("a") as table:
        table.write("emu.png,3\n")
    assert kept_samples(r, Store(tmp_path)).tolist() == best(SCORES)


def test_images_without_file_names_say_so(published: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="images' file names for column, and digits has none; give a table with the columns row"
    ):
        run(Run(**SHORT, scorer=published(SCORES, options={"column": "score"}).scorer), Store(tmp_path / "store"))
    with pytest.raises(ValueError, match="column 'row'|row"):
        run(Run(**SHORT, scorer=published(SCORES).scorer), Store(tmp_path / "store"))
    assert not Store(tmp_path / "store").ls()


def test_the_command_line(
    published: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    r = published(SCORES)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**SHORT, "scorer": r.scorer}.items()]
    assert main(["run", "--dataset", r.dataset, *flags, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["kept"] == 12 and Store().row(describe(r)) is not None


def test_the_scorers_options_know_the_tables_choices() -> None:
    for name, words in (("high", tuple(released.SIGN)), ("extra", released.EXTRA)):
        assert all(Run(scorer=f"released(file=a.csv, {name}={word})") for word in words)
        with pytest.raises(ValueError, match=f"choose one of: {', '.join(words)}"):
            Run(scorer=f"released(file=a.csv, {name}=neither)")


def test_the_scorers_options_are_those_of_the_table() -> None:
    there = method_options("scorer", "released")
    arguments = inspect.signature(released.released_scores).parameters
    assert set(there) == {"file", *arguments} - {"table", "files", "others"}
    assert all(there[name] == arguments[name].default for name in set(there) - {"file"})


def test_without_a_table_the_message_says_how_to_name_one(pictures: Path) -> None:
    with pytest.raises(ValueError, match=r'scorer="released\(file=PATH.csv\)"'):
        describe(Run(**{**SHORT, "dataset": f"folder:{pictures}", "scorer": "released"}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["of Feldman, 2020.csv", "scores (old).csv", "it's.csv", "all=[1, 2.csv"])
def test_any_file_name_survives_the_text_of_the_scorer(
    name: str, published: Callable[..., Run], tmp_path: Path
) -> None:
    r = published(SCORES, name=name, options={"parts": 1})
    assert table_of(r) == tmp_path / name and Run(**asdict(r)) == r
    assert kept_samples(r, Store(tmp_path / "store")).tolist() == best(SCORES)
