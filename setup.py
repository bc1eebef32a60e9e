"""What pyproject.toml cannot say: an installed kdlib brings the lessons along, with the rows and tables that they read."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PARTS = ("notebooks", "data/paper", "data/results", "data/teachers", "data/scores", "benchmarks/results")
SUFFIXES = {".ipynb", ".md", ".csv", ".json", ".jsonl", ".safetensors"}


class WithLessons(build_py):
    """Put them into the folder `kdlib/shipped` of the built package; an editable installation reads the checkout's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for file in sorted(file for part in PARTS for file in Path(part).rglob("*")):
            hidden = any(name.startswith(".") for name in file.parts)
            if file.is_file() and file.suffix in SUFFIXES and not hidden:
                target = Path(self.build_lib, "kdlib", "shipped", file)
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": WithLessons})
