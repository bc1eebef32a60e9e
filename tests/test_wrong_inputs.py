"""Every wrong input of the table is answered by one line that names the fix, before any work and without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlib.__main__ import main
from kdlib.data.folders import load_folder
from tests.data.conftest import write_image
from tests.wrong_commands import COMMANDS
from tests.wrong_inputs import CALLS, FOLDERS

DECODED_FIRST = {
    "a class in train only",
    "a class in test only",
    "an empty class",
    "a class of one",
    "nothing readable",
}


def test_the_table_is_long_enough() -> None:
    assert len(FOLDERS) + len(CALLS) + len({command for command, _ in COMMANDS}) >= 160


@pytest.mark.parametrize("case", FOLDERS)
def test_folders(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, text, message = FOLDERS[case]
    here, cache = tmp_path / "images", tmp_path / "cache"
    here.mkdir()
    for path, content in files.items():
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            write_image(here / path, 10)
        else:
            (here / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    if case not in DECODED_FIRST and "bomb" not in case:
        monkeypatch.setattr("kdlib.data.decoding.read_image", lambda *_: pytest.fail("decoded before it was refused"))
    with pytest.raises(ValueError) as refused:
        load_folder(text.replace("{here}", str(here)), cache)
    assert message.replace("{here}", str(here)) in str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
    assert case in DECODED_FIRST or not cache.exists()


@pytest.mark.parametrize("case", CALLS)
def test_calls(case: str, tmp_path: Path) -> None:
    call, message = CALLS[case]
    with pytest.raises(ValueError) as refused:
        call(tmp_path)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert len(list(tmp_path.iterdir())) <= 1  # the case's own input at most


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    for label in ("ant", "bee", "cat"):
        for i in range(40):
            (folder / "images" / label).mkdir(parents=True, exist_ok=True)
            write_image(folder / "images" / label / f"{i}.png", i)
    (folder / "images.csv").mkdir()
    for ending in ("txt", "pth", "safetensors", "onnx"):
        (folder / f"text.{ending}").write_text("words")
    (folder / "kept.csv").write_text("row\n5000\n")
    (folder / "text.csv").write_text("fraction,test_acc,seed\n0.1,50,0\n")
    return folder


@pytest.mark.parametrize(("command", "message"), COMMANDS)
def test_commands(
    command: str,
    message: str,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """One line and exit code 2, before anything is trained or written; the line on the data may stand before it."""
    for module in ("kdlib.training.reference_runs", "kdlib.experiments.run"):
        monkeypatch.setattr(f"{module}.train_batched", lambda *a, **k: pytest.fail("trained before it was refused"))
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    before = sorted(here.rglob("*"))
    assert main(command.format(here=here).split()) == 2
    said = capsys.readouterr()
    *first, last = said.err.splitlines()
    assert message in last and last.startswith("kdlib: ") and said.out == "", said
    assert all(": train " in line for line in first) and len(first) <= 1, said.err
    assert sorted(here.rglob("*")) == before and not list((tmp_path / "store").rglob("*.json*"))
    assert [path.name for path in tmp_path.iterdir()] in ([], ["store"])
