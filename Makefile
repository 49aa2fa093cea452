# make run       install what an experiment needs, train and measure it: make run SPEC=experiments/han_rn.toml
# make install   everything in .venv: the core, every plugin and the tools; with SPEC=... what that spec needs
# make test      lint, types, and every test that is not slow
# make test-slow the tests that take minutes
# make lint      ruff, mypy and the order of imports
# make format    rewrite the code as ruff wants it
# make docs      update the generated parts and build the documentation in site/
# make bench     the programs in benchmarks/
# make wheels    build every package into dist/
# make clean     remove what the other targets leave, except .venv, runs/, sweeps/ and the data cache
#
# Each target installs what it needs first, and says so. Another Python: make install PYTHON=python3.12

PYTHON ?= python3
SPEC ?= experiments/han_rn.toml

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-build-isolation
PLUGINS := $(patsubst %/pyproject.toml,%,$(sort $(wildcard plugins/*/pyproject.toml)))
PROJECTS := pyproject.toml $(PLUGINS:=/pyproject.toml)
# What is done: everything is installed; the core and what some specs need; what builds packages.
ALL := $(VENV)/.installed
PART := $(VENV)/.core
TOOLS := $(VENV)/.tools
# What make run adds: the page at the end of a run, with what it compares, and the one that asks the model.
PAGES := $(notdir $(wildcard $(addprefix plugins/hacore-,report serve zoo baselines)))
# The plugins that are in .venv already.
PRESENT := $(foreach plugin,$(PLUGINS),$(if \
  $(wildcard $(VENV)/lib/python*/site-packages/$(subst -,_,$(notdir $(plugin)))-*.dist-info),$(plugin)))
MOSTLY := mostly PyTorch with CUDA: 3.1 GB to download, then some minutes. For a smaller one see docs/install.md.
# The tests of the web page need a few more libraries, and those of WUPS the data of WordNet.
SERVE := $(PLUGINS:%/hacore-serve=%/hacore-serve[test])
EDITABLE := $(SERVE:%/hacore-daquar=%/hacore-daquar[wups])
# These need arguments, finished runs or weights, or a GPU.
ASIDE := $(patsubst %,benchmarks/%.py,results kept_cells clevr_programs other_words public_rn gpu)
BENCHMARKS := $(filter-out $(ASIDE),$(sort $(wildcard benchmarks/*.py)))

# Ignore the user's setting for installs outside of virtual environments.
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install needed run test test-slow lint format docs bench wheels clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# A spec that is named on the command line limits what is installed, unless everything is there already.
ifeq ($(origin SPEC),file)
install: $(ALL)
else
install: needed
endif

$(TOOLS):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hacore needs Python 3.11 or later; name one, as in: make install PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Installed first, so that each package does not need a build environment of its own.
	$(BIN)/python -m pip install hatchling editables
	@touch $@

$(ALL): $(PROJECTS)
	@echo "make: installing everything into $(VENV): the core, $(words $(PLUGINS)) plugins, and what tests and documentation need."
	@echo "make: new, that is about 210 packages and 6.6 GB, $(MOSTLY)"
	@$(MAKE) --no-print-directory $(TOOLS)
	$(PIP) -e '.[dev]' $(EDITABLE:%=-e %)
	@touch $@ $(PART)

$(PART): $(PROJECTS)
	@echo "make: $(strip installing the core and what $(firstword $(SPEC)) needs $(WITH:%=and %)) into $(VENV)."
	@echo "make: new, that is about 80 packages and 5.6 GB, $(MOSTLY)"
	@$(MAKE) --no-print-directory $(TOOLS)
	$(PIP) -e . $(PRESENT:%=-e %)
	@touch $@

# What the spec needs, what is asked for WITH it, and what of ours these require, but for what is there.
ifneq ($(wildcard $(ALL)),)
needed: $(ALL)
else
needed: $(PART)
	@names=$$($(BIN)/hacore needs $(SPEC)) || exit 1; \
	names="$$names $(WITH)"; \
	for depth in 1 2 3; do for name in $$names; do file="plugins/$$name/pyproject.toml"; \
	  if [ -f "$$file" ]; then names="$$names $$(grep -oE '"hacore-[a-z0-9-]+~' "$$file" | tr -d '"~')"; fi; \
	done; done; \
	for name in $$names; do \
	  case " $(PRESENT) $$absent " in *" plugins/$$name "*) continue;; esac; \
	  if [ -d "plugins/$$name" ]; then absent="$$absent -e plugins/$$name"; fi; \
	done; \
	[ -z "$$absent" ] || { echo "make: installing what $(firstword $(SPEC)) needs:$$absent"; $(PIP) $$absent; }
endif

run: WITH := $(PAGES)
run: needed
	$(BIN)/hacore run $(SPEC)

# Two processes, each taking one file of tests at a time.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: $(ALL)
	$(BIN)/pytest -m slow

lint: $(ALL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typed_program.py
	$(BIN)/lint-imports --no-logo

format: $(ALL)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(ALL)
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

bench: $(ALL)
	set -e; for program in $(BENCHMARKS); do $(BIN)/python $$program; done

wheels: $(TOOLS)
	@echo "make: building $(words $(PROJECTS)) wheels in dist/."
	rm -f dist/hacore*.whl
	$(BIN)/python -m pip wheel --no-build-isolation --no-deps --wheel-dir dist . $(PLUGINS:%=./%)

clean:
	rm -rf site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
