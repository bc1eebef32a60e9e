# Needs: Python 3.11 or newer with venv, and make. Everything else is installed into .venv.
#   make figures   run every lesson, write figures/ and the site figures/site/index.html
#   make test      the whole suite, notebooks included
#   make lab       open the lessons in JupyterLab
#   make cluster-demo   a scheduler and two workers on this machine, and a sweep on them
# Another interpreter: make PYTHON=python3.12 figures

PYTHON ?= python3
BIN := .venv/bin
TEST_WORKERS ?= 2
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: figures test check lab cluster-demo setup clean

figures: setup
	$(BIN)/python -m kdlib figures

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: setup
	$(BIN)/python -m kdlib lab

cluster-demo: setup
	$(BIN)/python benchmarks/cluster_demo.py

setup: .venv/.installed

# uv installs in a minute what takes pip four; where it cannot work (a mirror that only pip knows), pip does.
# The system's certificates count, as they do for pip on current systems: a company's proxy has its own.
.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kdlib needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
		{ echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv (about 6 GB, 1 to 4 minutes) ..."
	$(PYTHON) -m venv .venv
	{ $(BIN)/pip install --quiet --disable-pip-version-check uv && \
		UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1 $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --editable '.[test]'; } || \
		$(BIN)/pip install --disable-pip-version-check --editable '.[test]'
	@touch $@

# Keeps .venv, downloaded data and everything trained (data/raw, data/store).
clean:
	rm -rf figures/site figures/runs .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
	find kdlib tests notebooks benchmarks -name __pycache__ -prune -exec rm -rf {} +
