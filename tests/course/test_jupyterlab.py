"""JupyterLab from this environment in a real browser: lessons run without an error, and a slider moves its picture."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.browser import PATIENCE, chromium

LESSONS = ["00_start_here", "01_linear_regression_bias"]
READY = "window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === 'idle'"
CELLS = "jupyterapp.shell.currentWidget.content.widgets"
STATE = f"""() => {CELLS}.filter(cell => cell.model.type === 'code').map(cell => [
  cell.model.executionCount,
  cell.model.outputs.toJSON().filter(output => output.output_type === 'error').map(output => output.evalue)])"""
SLIDERS = f"{CELLS}.findIndex(cell => cell.model.sharedModel.getSource().includes('widgets.interactive('))"
SHOW = """async k => {
  const notebook = jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = k;
  await notebook.scrollToItem(k, 'start'); }"""
ACTIVE = ".jp-Notebook-cell.jp-mod-active"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`kdlib lab FOLDER` on a copy of the lessons, with settings of its own; its address and token."""
    home = tmp_path_factory.mktemp("lab")
    own = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "IPYTHONDIR",
    )
    environment = os.environ | {name: str(home / name.lower()) for name in own} | {"KDLIB_PRESET": "smoke"}
    environment.pop("MPLBACKEND")  # the tests draw without a screen; a notebook draws into itself
    kdlib = [sys.executable, "-m", "kdlib"]
    subprocess.run([*kdlib, "lessons", "copy", str(home / "copy")], check=True, capture_output=True)
    quiet = ["--no-browser", "--ServerApp.port=0", "--LabApp.news_url=", "--LabApp.expose_app_in_browser=True"]
    with open(home / "log", "w") as log:
        process = subprocess.Popen([*kdlib, "lab", str(home / "copy"), *quiet], env=environment, stdout=log, stderr=log)
    try:
        yield _address(home, process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(home, process):
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline and process.poll() is None:
        for file in (home / "jupyter_runtime_dir").glob("jpserver-*.json"):
            try:
                return json.loads(file.read_text())
            except ValueError:  # it is being written
                pass
        time.sleep(0.2)
    raise AssertionError((home / "log").read_text())


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_and_a_slider_moves_its_picture(browser, server, name):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    elsewhere = []
    page.on(
        "request",
        lambda r: elsewhere.append(r.url) if not r.url.startswith((server["url"], "data:", "blob:")) else None,
    )
    page.goto(f"{server['url']}lab/tree/{name}.ipynb?reset&token={server['token']}")
    page.wait_for_function(READY)
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    cells = page.evaluate(STATE)
    assert len(cells) > 10 and all(count for count, _ in cells), "every cell ran"
    assert [errors for _, errors in cells if errors] == []
    page.evaluate(SHOW, page.evaluate(SLIDERS))
    picture = page.locator(f"{ACTIVE} .jp-OutputArea img").first
    before = picture.get_attribute("src")
    assert before.startswith("data:image/png")
    handle = page.locator(f"{ACTIVE} .noUi-handle").first
    handle.scroll_into_view_if_needed()
    at = handle.bounding_box()
    x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=4)
    page.mouse.move(x + 40, y, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "([place, before]) => ![null, undefined, before].includes(document.querySelector(place)?.src)",
        arg=[f"{ACTIVE} .jp-OutputArea img", before],
    )  # the picture follows the slider
    assert elsewhere == [], "nothing is asked of another machine"
    page.close()
