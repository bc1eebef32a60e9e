"""Running lessons: real kernels, real failures, real signals, on tiny notebooks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from kdlib.course import execution, lessons, notebooks, suite
from kdlib.course.lessons import LessonError, chosen_preset, run_lesson
from kdlib.utils import progress
from tests.course.samples import FIXTURES, snapshot

# -- names and presets


def test_preset_comes_from_the_environment_first(monkeypatch):
    assert chosen_preset("class") == "class"
    monkeypatch.setenv("KDLIB_PRESET", "smoke")
    assert chosen_preset("class") == "smoke"
    monkeypatch.setenv("KDLIB_PRESET", "smke")
    with pytest.raises(ValueError, match="did you mean 'smoke'"):
        chosen_preset("class")


def test_preset_names_are_the_experiments():
    from kdlib.experiments.config import PRESETS

    assert tuple(PRESETS) == lessons.PRESET_NAMES


@pytest.mark.parametrize("name", ["01", "1", "01_good_lesson", "01_good_lesson.ipynb"])
def test_find(project, name):
    assert lessons.find(name) == project / "notebooks" / "01_good_lesson.ipynb"


@pytest.mark.parametrize("name", ["7", "01_god_lesson", "", "../01"])
def test_find_unknown(project, name):
    with pytest.raises(ValueError, match="01_good_lesson"):
        lessons.find(name)


# -- one lesson


def test_success(tmp_path):
    lines = []
    with progress.shown_by(lambda text, milestone: lines.append(text)):
        ran = run_lesson(str(FIXTURES / "good.ipynb"), out=tmp_path / "o.ipynb", figures=tmp_path / "f")
    nb = notebooks.read(tmp_path / "o.ipynb")
    assert ran.figures == ("toy.svg",) and (tmp_path / "f" / "toy.svg").read_text() == "<svg>0</svg>"
    assert nb == notebooks.clean(nb), "what is written is clean"
    assert not any("injected-parameters" in notebooks.tags(cell) for cell in nb.cells)
    assert [c.execution_count for c in nb.cells if c.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert nb.cells[3].outputs[0].data["text/plain"] == "(0, 0.5, 'class', True, [0, 1])"
    assert nb.cells[7].outputs == [{"output_type": "stream", "name": "stdout", "text": "a\nb\n"}]
    assert any(re.fullmatch(r"good: cell \d/5, 0:00:\d\d left · run 1 of 1", text) for text in lines), lines
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["f", "o.ipynb", "toy.svg"], "no left-overs"


def test_rerun_has_an_empty_diff(tmp_path):
    for name in "ab":
        run_lesson(str(FIXTURES / "good.ipynb"), out=tmp_path / name, figures=tmp_path / "f")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (FIXTURES / "good.ipynb").read_bytes()


def test_parameters_reach_the_lesson(project):
    ran = run_lesson("01", {"seed": 7, "fraction": 1, "seeds": (3,)}, preset="smoke")
    nb = notebooks.read(ran.notebook)
    outputs = [cell.outputs[0].data["text/plain"] for cell in nb.cells[:5] if cell.get("outputs")]
    assert outputs == ["(7, 1.0, 'smoke', True, [3])"]
    assert any("injected-parameters" in notebooks.tags(cell) for cell in nb.cells), "the notebook says what ran"
    assert re.fullmatch(r"01_good_lesson__seed=7__fraction=1\.0__seeds=-3-[0-9a-f]{8}__preset=smoke", ran.notebook.stem)
    assert (ran.folder / "toy.svg").is_file() and ran.folder == ran.notebook.with_suffix("")
    assert not (project / "figures" / "toy.svg").exists(), "figures/ holds the lessons as written"


@pytest.mark.parametrize(
    ("parameters", "preset", "message"),
    [
        ({"sed": 1}, None, "unknown parameter 'sed'; did you mean 'seed'?"),
        ({"seed": "1"}, None, "parameter 'seed' must be int, not str"),
        ({"seed": True}, None, "must be int, not bool"),
        ({"balanced": 1}, None, "must be bool"),
        ({"fraction": "0.5"}, None, "must be float"),
        ({"seeds": 3}, None, "must be list"),
        ({}, "smok", "did you mean 'smoke'"),
        ({"preset": "huge"}, None, "choose one of: smoke, class, laptop, paper"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(project, parameters, preset, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run_lesson("01", parameters, preset=preset)
    assert not (project / "figures").exists()


@pytest.mark.parametrize(
    ("fixture", "reason"),
    [
        ("failing", "cell 6 of 8 (limit = 3): ValueError: f must be in (0, 1];"),
        ("killed", "cell 6 of 8 (import os): the kernel died"),
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"seed": 5}])
def test_failure_leaves_only_its_explanation(tmp_path, fixture, reason, parameters):
    out, figures = tmp_path / "o.ipynb", tmp_path / "f"
    run_lesson(str(FIXTURES / "good.ipynb"), out=out, figures=figures)
    before = snapshot(tmp_path)
    with pytest.raises(LessonError) as caught:
        run_lesson(str(FIXTURES / f"{fixture}.ipynb"), parameters, out=out, figures=figures)
    message = str(caught.value)
    assert reason in message and "\n" not in message
    assert str(caught.value.notebook) in message
    ran = [c.execution_count for c in notebooks.read(caught.value.notebook).cells if c.cell_type == "code"]
    assert ran[-1] is None, "it shows how far the lesson came"
    after = snapshot(tmp_path)
    assert {k: v for k, v in after.items() if k != "o.failed.ipynb"} == before, "figures and notebook as they were"
    run_lesson(str(FIXTURES / "good.ipynb"), out=out, figures=figures)
    assert snapshot(tmp_path) == before, "a later success removes the failed notebook"


def test_stale_kernels_do_not_win(tmp_path, monkeypatch):
    """A broken `python3` of the user, preferred by the environment, and a notebook saved under an unknown kernel."""
    spec = tmp_path / "data" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [str(tmp_path / "removed" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    from jupyter_client.kernelspec import KernelSpecManager

    assert KernelSpecManager().get_kernel_spec("python3").argv == argv, "the trap is set"
    cell = nbformat.v4.new_code_cell("import sys, os\nprint(sys.executable)\nprint(os.getcwd())")
    nb = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {"name": "old", "display_name": "old"}})
    nbformat.write(nb, tmp_path / "n.ipynb")
    run_lesson(str(tmp_path / "n.ipynb"), out=tmp_path / "o.ipynb", figures=tmp_path)
    done = notebooks.read(tmp_path / "o.ipynb")
    assert done.cells[0].outputs[0].text == f"{sys.executable}\n{tmp_path}\n"
    assert done.metadata.kernelspec.name == "python3"


def test_kernel_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    source = (
        "import os\nfor k in ('OMP_WAIT_POLICY', 'OMP_NUM_THREADS', 'KDLIB_PRESET'):\n    print(k, os.environ.get(k))"
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), tmp_path / "n.ipynb")
    run_lesson(str(tmp_path / "n.ipynb"), preset="smoke", out=tmp_path / "o.ipynb", figures=tmp_path)
    text = notebooks.read(tmp_path / "o.ipynb").cells[0].outputs[0].text
    assert text == "OMP_WAIT_POLICY PASSIVE\nOMP_NUM_THREADS 1\nKDLIB_PRESET smoke\n"


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c(project, count):
    """SIGINT to the whole foreground group, as a terminal sends it: no kernel, figure or notebook is left."""
    for number in range(count):
        shutil.copy(FIXTURES / "slow.ipynb", project / "notebooks" / f"0{number}_slow.ipynb")
    for name in ("01_good_lesson", "02_failing_lesson", "04_fails_at_seed_1"):
        (project / "notebooks" / f"{name}.ipynb").unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "kdlib", "lesson", "all", "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(suite.__file__).parents[2],
    )

    def kernels():
        return [p for p in psutil.Process(process.pid).children(recursive=True) if "ipykernel_launcher" in p.cmdline()]

    deadline = time.monotonic() + 180
    while len(kernels()) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    running = kernels()
    assert len(running) == count
    os.killpg(process.pid, signal.SIGINT)
    stderr = process.communicate(timeout=30)[1]
    assert process.returncode == 130, stderr
    assert "kdlib: stopped" in stderr.splitlines()[-1], stderr
    assert "Traceback" not in stderr, stderr
    psutil.wait_procs(running, timeout=10)
    assert not [p for p in running if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not [p for p in (project / "figures").rglob("*") if p.is_file() and "failed" not in p.name]


# -- clean notebooks


def messy():
    nb = notebooks.read(FIXTURES / "good.ipynb")
    cell = nb.cells[3]
    cell.execution_count, cell.id = 17, "random"
    cell.metadata = {"tags": ["x"], "papermill": {"duration": 1}, "execution": {}, "jupyter": {"source_hidden": True}}
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="a"),
        nbformat.v4.new_output("stream", name="stderr", text="warning"),
        nbformat.v4.new_output("stream", name="stdout", text="b"),
        nbformat.v4.new_output(
            "display_data", data={"application/vnd.jupyter.widget-view+json": {}, "text/plain": "w"}
        ),
        nbformat.v4.new_output("execute_result", data={"text/plain": "1"}, metadata={"m": 1}, execution_count=17),
    ]
    nb.cells.insert(2, nbformat.v4.new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]}))
    nb.metadata = {"widgets": {}, "papermill": {}, "kernelspec": {"name": "mine", "display_name": "m"}}
    return nb


def test_clean():
    nb = messy()
    before = nbformat.writes(nb)
    clean = notebooks.clean(nb)
    assert nbformat.writes(nb) == before, "the notebook given is not touched"
    assert notebooks.clean(clean) == clean
    nbformat.validate(clean)
    cell = clean.cells[3]
    assert cell.metadata == {"tags": ["x"], "jupyter": {"source_hidden": True}}
    assert cell.outputs == [
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 2},
    ]
    assert clean.metadata == {"kernelspec": notebooks.KERNELSPEC, "language_info": {"name": "python"}}
    assert [c.id for c in clean.cells] == [c.id for c in notebooks.read(FIXTURES / "good.ipynb").cells]


def test_clean_drops_the_line_of_progress_that_a_notebook_saved_by_hand_keeps():
    line = nbformat.v4.new_output("display_data", data={"text/plain": ""})
    said = [nbformat.v4.new_output("stream", text=text) for text in ("before\n", "after\n")]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[said[0], line, said[1]])])
    assert [output.text for output in notebooks.clean(nb).cells[0].outputs] == ["before\nafter\n"]


def test_clean_keeps_what_says_in_words_what_a_picture_shows():
    metadata = {"image/png": {"alt": "a curve", "width": 3}, "needs_background": "light"}
    output = nbformat.v4.new_output("display_data", data={"text/plain": "<Figure>"}, metadata=metadata)
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    assert notebooks.clean(nb).cells[0].outputs[0].metadata == {"image/png": {"alt": "a curve"}}


def test_clean_keeps_equal_cells_apart_and_pictures_small():
    import base64
    import io

    from PIL import Image

    picture = io.BytesIO()
    Image.linear_gradient("L").convert("RGBA").save(picture, format="png")
    data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1") for _ in range(3)])
    nb.cells[0].outputs = [nbformat.v4.new_output("display_data", data=data)]
    clean = notebooks.clean(nb)
    assert len({c.id for c in clean.cells}) == 3
    kept = base64.b64decode(clean.cells[0].outputs[0].data["image/png"])
    assert Image.open(io.BytesIO(kept)).mode == "P" and Image.open(io.BytesIO(kept)).size == (256, 256)
    assert notebooks.clean(clean) == clean


def test_student_copy():
    nb = notebooks.read(FIXTURES / "good.ipynb")
    student = notebooks.student_copy(nb)
    assert len(student.cells) == len(nb.cells) - 1
    assert not any("answer" in cell.source for cell in student.cells)
    assert not any(cell.get("outputs") for cell in student.cells)


def test_parameters():
    found = notebooks.parameters(notebooks.read(FIXTURES / "good.ipynb"))
    assert found["fraction"] == {"type": "float", "default": 0.5, "help": "kept fraction f"}
    parse = {"seed": "3", "fraction": "1", "preset": "smoke", "balanced": "true", "seeds": "3,4"}
    values = {name: notebooks.parse_parameter(name, text, found) for name, text in parse.items()}
    assert values == {"seed": 3, "fraction": 1.0, "preset": "smoke", "balanced": True, "seeds": [3, 4]}
    for name, text in {"seed": "x", "balanced": "maybe", "fraction": "[1]"}.items():
        with pytest.raises(ValueError, match=f"parameter '{name}' must be"):
            notebooks.parse_parameter(name, text, found)


def test_a_parameters_cell_that_is_not_python_is_said_in_one_line():
    nb = notebooks.read(FIXTURES / "good.ipynb")
    [cell] = [cell for cell in nb.cells if "parameters" in notebooks.tags(cell)]
    cell.source = "seed = 3\nfraction = (0.5"
    with pytest.raises(ValueError, match="parameters cell cannot be read: .* in its line 2") as problem:
        notebooks.parameters(nb)
    assert "\n" not in str(problem.value)


def test_a_kernel_whose_answer_got_lost_is_ended_and_the_lesson_starts_again(tmp_path, monkeypatch, capsys):
    """The first execution meets a kernel that seems silent at once; the second one is left alone."""
    real, silences = execution.Watch, iter([0.0, 120.0])
    monkeypatch.setattr(execution, "Watch", lambda kernel, tracker: real(kernel, tracker, next(silences)))
    monkeypatch.setattr(real, "_work", lambda self: 0.0)
    ran = lessons.run_lesson(str(FIXTURES / "good.ipynb"), out=tmp_path / "o.ipynb")
    assert ran.notebook.exists() and "the lesson starts again" in capsys.readouterr().err
