# make install   a virtual environment in .venv with the core, every plugin and the tools
# make run       train and measure an experiment: make run SPEC=experiments/han_rn.toml
# make test      lint, types, and every test that is not slow
# make test-slow the tests that take minutes
# make lint      ruff, mypy and the order of imports
# make format    rewrite the code as ruff wants it
# make docs      update the generated parts and build the documentation in site/
# make bench     the programs in benchmarks/
# make clean     remove what the other targets leave, except .venv, runs/, sweeps/ and the data cache
#
# Each target runs the ones that it needs first. Another Python: make install PYTHON=python3.12

PYTHON ?= python3
SPEC ?= experiments/han_rn.toml

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PLUGINS := $(patsubst %/pyproject.toml,%,$(sort $(wildcard plugins/*/pyproject.toml)))
# The tests of the web page need a few more libraries.
EDITABLE := $(PLUGINS:%/hacore-serve=%/hacore-serve[test])
# These need arguments, finished runs or weights, or a GPU.
ASIDE := $(patsubst %,benchmarks/%.py,results kept_cells public_rn gpu)
BENCHMARKS := $(filter-out $(ASIDE),$(sort $(wildcard benchmarks/*.py)))
# Installed first, so that each package does not need a build environment of its own.
BUILD_TOOLS := hatchling editables

# Ignore the user's setting for installs outside of virtual environments.
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install run test test-slow lint format docs bench clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(INSTALLED)

$(INSTALLED): pyproject.toml $(PLUGINS:=/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hacore needs Python 3.11 or later; name one, as in: make install PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(BUILD_TOOLS)
	$(BIN)/python -m pip install --no-build-isolation -e '.[dev]' $(EDITABLE:%=-e %)
	@touch $@

run: install
	$(BIN)/hacore run $(SPEC)

# Two processes, each taking one file of tests at a time.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: install
	$(BIN)/pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typed_program.py
	$(BIN)/lint-imports --no-logo

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

bench: install
	set -e; for program in $(BENCHMARKS); do $(BIN)/python $$program; done

clean:
	rm -rf site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
