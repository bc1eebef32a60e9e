"""The repository as a stranger meets it: one source of versions, commands that exist, nothing private."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from kdlib.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def files():
    """Every file that is or would be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    names = listed.stdout.split("\n") if listed.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
    return [ROOT / name for name in names if (ROOT / name).is_file() and ".venv" not in name and ".git/" not in name]


def text_of(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_environment_has_no_versions_of_its_own():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, last = environment["dependencies"]
    python, pip = conda
    assert python == PROJECT["requires-python"].replace(">=", "python="), "the oldest that the package takes"
    assert pip == "pip"
    assert last == {"pip": ["-e .[test]"]}
    assert environment.keys() <= {"name", "dependencies"}


def test_binder_builds_from_environment_yml():
    """repo2docker's rules: the file at the top and nothing that comes before it; a Python that it reads; the local package.

    It takes its base environment by `python=X.Y` alone (its `PYTHON_REGEX`); any other form means an upgrade of another.
    """
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    found = [re.match(r"python\s*=+\s*([\d.]+)", d) for d in environment["dependencies"] if isinstance(d, str)]
    assert [match[1] for match in found if match] == ["3.11"]
    first = ("binder", ".binder", "Dockerfile", "Project.toml", "REQUIRE", "default.nix", "runtime.txt", "install.R")
    assert not [name for name in (*first, "DESCRIPTION", "Pipfile") if (ROOT / name).exists()]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip[0].startswith("-e .") and "://" not in pip[0], "local, so that the whole repository is there first"


def test_dependencies_are_ranges():
    extras = [d for listed in PROJECT["optional-dependencies"].values() for d in listed if not d.startswith("kdlib[")]
    for requirement in PROJECT["dependencies"] + extras:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+(\[\w+\])?>=[\d.]+", requirement), requirement


def test_every_import_is_declared():
    """No third-party module is imported that an installation would not bring."""
    declared = {re.split(r"[\[><=]", d)[0].lower() for d in PROJECT["dependencies"]}
    extras = {re.split(r"[\[><=]", d)[0].lower() for ds in PROJECT["optional-dependencies"].values() for d in ds}
    modules = {"scikit-learn": "sklearn", "pillow": "PIL"}
    known = {modules.get(name, name) for name in declared | extras} | {"distributed", "yaml"}
    brought = {
        "nbformat",
        "nbclient",
        "traitlets",
        "jupyter_client",
        "jinja2",
        "pygments",
        "IPython",
        "psutil",
        "cycler",
        "markupsafe",
    }
    standard = __import__("sys").stdlib_module_names
    for path in (ROOT / "kdlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module else []
            for name in names:
                top = name.split(".")[0]
                assert top in standard or top in known | brought | {"kdlib"}, f"{path.name} imports {name}"


def test_nothing_unpickles():
    for path in (ROOT / "kdlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
                assert called != "torch.load" or safe, path
                assert called not in ("pd.read_pickle", "pandas.read_pickle"), path
                assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) == "True" for k in node.keywords), path


def test_nothing_private_and_nothing_large():
    private = re.compile(r"(?<![\w.:/$~{}-])/(?:home|root|Users|work|tmp|opt)/\w+")
    for path in files():
        assert path.stat().st_size < 5_000_000, path
        if path.suffix in (".js", ".css", ".svg") or path.name == "LICENSE":
            continue
        found = private.search(text_of(path))
        assert found is None, f"{path.relative_to(ROOT)}: {found.group()}"


def test_no_lock_files():
    assert not [p for p in files() if p.name in ("uv.lock", "poetry.lock", "requirements.txt", "conda-lock.yml")]


def test_citation_is_that_of_this_version():
    """CITATION.cff, which code hosts and reference managers read; its fields are those that the format asks for."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() and citation["type"] == "software"
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    for entry in [citation, *citation["references"]]:
        assert all(author.keys() & {"name", "family-names"} for author in entry["authors"]), entry["title"]


def test_what_is_copied_into_a_package_is_what_a_copy_of_the_lessons_holds():
    """setup.py cannot import kdlib; it names the same folders and kinds of files."""
    from kdlib.course import copies

    tree = ast.parse((ROOT / "setup.py").read_text())
    named = {ast.unparse(n.targets[0]): ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign)}
    assert named["PARTS"] == ("notebooks", *(f"data/{name}" for name in copies.DATA), "benchmarks/results")
    assert named["SUFFIXES"] == copies.SUFFIXES
    assert all(f"graft {part}" in (ROOT / "MANIFEST.in").read_text() for part in named["PARTS"])


def targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))


def test_makefile_and_gate():
    assert {"figures", "test", "lab", "setup", "clean"} <= targets()
    gate = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in gate and re.search(r"^make test\b", gate, re.M)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_an_old_python_is_told_so(tmp_path):
    """`make setup` with an interpreter that is too old stops at once and says what to do."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").write_text("")
    done = subprocess.run(["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


# -- an installation, outside a checkout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs kdlib as `pip install .` leaves it, in an empty folder; `site` is where it is installed."""
    source, site, work = (tmp_path_factory.mktemp(name) for name in ("source", "site", "work"))
    for path in files():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *offline, "--target", str(site), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KDLIB_")}

    def run(*args):
        command = [sys.executable, "-m", "kdlib", *args]
        return subprocess.run(
            command, cwd=work, env={**kept, "PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=900
        )

    run.work, run.site = work, site
    return run


def test_an_installation_copies_its_lessons_and_opens_them(installed):
    assert installed("--version").stdout == f"kdlib {PROJECT['version']}\n"
    refused = installed("lab")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "kdlib lessons copy" in refused.stderr
    done = installed("lessons", "copy", "mine")
    assert done.returncode == 0 and "kdlib lab mine" in done.stderr, done.stderr
    assert {p.name for p in (installed.work / "mine" / "notebooks").glob("*.ipynb")} == {
        p.name for p in (ROOT / "notebooks").glob("*.ipynb")
    }
    done = installed("lab", "mine", "--version")  # JupyterLab itself answers
    assert done.returncode == 0 and re.match(r"\d+\.\d+", done.stdout), done.stderr


def test_an_installation_runs_its_lessons_and_builds_the_site(installed):
    """`kdlib figures` in an empty folder, with the shortest of the lessons alone."""
    for notebook in (installed.site / "kdlib" / "shipped" / "notebooks").glob("*.ipynb"):
        if not notebook.name.startswith("01"):
            notebook.unlink()
    done = installed("figures", "--preset", "smoke", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "1 to run, 1 at a time, 0:00:" in done.stderr and "those of the package are copied to" in done.stderr
    assert (installed.work / "figures" / "site" / "index.html").stat().st_size > 10_000
    assert "Traceback" not in done.stderr


# -- the README


@pytest.fixture(scope="module")
def readme():
    return (ROOT / "README.md").read_text()


def blocks(text, *languages):
    return [body for language, body in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) if language in languages]


def test_readme_commands_exist(readme):
    shell = "\n".join(blocks(readme, "bash", "sh", "shell", "console"))
    assert set(re.findall(r"\bmake ([a-z-]+)", shell)) <= targets()
    assert {"figures", "test"} <= set(re.findall(r"\bmake ([a-z-]+)", readme))
    commands = re.findall(r"(?:python3? -m |^|\$ )kdlib (\w+)", shell, re.M)
    assert commands and set(commands) <= set(COMMANDS)


def test_readme_shell_flags_are_understood(readme):
    """Every `kdlib run` and `kdlib sweep` of the README has arguments that the command accepts."""
    import shlex

    from kdlib.cli.arguments import parse
    from kdlib.cli.experiment_commands import RunOptions, SweepOptions, with_run_flags

    shell = "\n".join(blocks(readme, "bash", "sh", "shell", "console")).replace("\\\n", " ")
    for command, rest in re.findall(r"kdlib (run|sweep)\b([^\n#]*)", shell):
        args = shlex.split(rest)
        parse(with_run_flags({"run": RunOptions, "sweep": SweepOptions}[command], args), args, command)


def test_readme_python_names_exist(readme):
    import kdlib

    python = blocks(readme, "python")
    assert python
    for block in python:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "kdlib":
                assert all(hasattr(kdlib, alias.name) for alias in node.names), block


def test_readme_links_lead_somewhere(readme):
    for link in [*re.findall(r"\]\(([^)#\s]+)", readme), *re.findall(r'src="([^"]+)"', readme)]:
        if "://" not in link:
            assert (ROOT / link).exists(), link


def test_readme_lists_every_lesson(readme):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert path.name in readme, path.name


def test_readme_says_how_long_each_lesson_takes_as_the_lesson_does(readme):
    from kdlib.course import notebooks
    from kdlib.course.run_times import stated

    cells = dict(re.findall(r"\(notebooks/([01]\w+\.ipynb)\) \| .*? \| ([^|]+) \|$", readme, re.M))
    assert len(cells) == 17
    for name, text in cells.items():
        table = notebooks.read(ROOT / "notebooks" / name)
        told = f"| preset | run time |\n|---|---|\n| `class` | {text} |"
        said = type(table)(cells=[type(table)(cell_type="markdown", source=told)])
        assert stated(said, "class") == stated(table, "class"), name


def test_readme_says_of_each_lesson_what_the_site_says() -> None:
    from kdlib.course.overview import OVERVIEW

    readme = (ROOT / "README.md").read_text()
    assert set(OVERVIEW) == {path.stem for path in (ROOT / "notebooks").glob("[01]*.ipynb")}
    for lesson, (sentence, picture) in OVERVIEW.items():
        assert f"{lesson}.ipynb) | {sentence} |" in readme and f"figures/{picture}.png" in readme, lesson
        assert (ROOT / "figures" / f"{picture}.png").is_file()
