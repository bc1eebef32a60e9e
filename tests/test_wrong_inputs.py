"""Every wrong input of the table is answered by one line that names the fix, before any work and without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlib.data.folders import load_folder
from tests.data.conftest import write_image
from tests.wrong_inputs import CALLS, FOLDERS

DECODED_FIRST = {
    "a class in train only",
    "a class in test only",
    "an empty class",
    "a class of one",
    "nothing readable",
}


def test_the_table_is_long_enough() -> None:
    assert len(FOLDERS) + len(CALLS) >= 40


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
