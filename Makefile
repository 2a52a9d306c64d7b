# make demo | test | check | test-all | cpython-suite | races | chaos | again | soak | scale | parent-death | bench | bench-quick | clean
#
# Each target makes the virtual environment that it needs: .venv with the default Python, or
# .venv-3.12 with `make test PYTHON=python3.12`.

SHELL := /bin/sh
PYTHON ?= python3
ALL_PYTHONS := 3.11 3.12 3.13

ifeq ($(origin PYTHON),file)
VENV := .venv
FIND := tools/find_python.sh $(PYTHON) python3.13 python3.12 python3.11
else
# A second environment for each version asked for by name. `-none` when it does not run: the rule below says so.
VENV := .venv-$(shell p=$$(tools/find_python.sh $(PYTHON) 2>/dev/null) && $$p -c 'import sys; print("%d.%d" % sys.version_info[:2])' || echo none)
FIND := tools/find_python.sh $(PYTHON)
endif

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input install --quiet

# Every pool starts an interpreter: without bytecode files, each of them would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check test-all cpython-suite races soak parent-death bench bench-quick clean

help:
	@sed -n 's/^# make /make /p' Makefile

# A link to a Python that is gone does not count as there: the environment is made anew.
$(VENV)/bin/python:
	python=$$($(FIND)) && "$$python" -m venv --clear $(VENV)

# Installed again whenever pyproject.toml changes.
$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e '.[test]'
	touch $@ $(VENV)/.base

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e '.[bench]'
	touch $@ $(VENV)/.base

$(VENV)/.check: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e '.[test,check]'
	touch $@ $(VENV)/.base $(VENV)/.test

demo: $(VENV)/.base
	$(PY) examples/demo.py

# Processes that share the tests: most of those wait, and what waits must not mind a neighbour. 0: no sharing.
SIDE_BY_SIDE ?= 2
test: $(VENV)/.test
	$(PY) -m pytest -n $(SIDE_BY_SIDE) --dist worksteal $(ARGS)

# The live tests, so often, and so many runs beside each other: some 15 minutes of two cores for each four.
TIMES_AGAIN ?= 20
BESIDE ?= 4
.PHONY: again
again: $(VENV)/.test
	$(PY) tools/again.py --times $(TIMES_AGAIN) --beside $(BESIDE) $(ARGS)

# Every check runs, so that one look shows all that is wrong.
check: $(VENV)/.check
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/check.sh

# End a busy program at random instants, in each way and with each start method (or WAY=SIGKILL, METHOD=spawn only), and
# see that nothing of it is left 2 s later.
RUNS ?= 200
SEED ?= 1
parent-death: $(VENV)/.test
	$(PY) tests/live/parent_death.py --runs $(RUNS) --seed $(SEED) $(call given,METHOD,--method) $(call given,WAY,--way)

test-all:
	tools/test_all.sh $(ALL_PYTHONS)

# The suite of CPython's own pool, run against ours; it is there in Pythons that were installed with their tests.
cpython-suite:
	@python=$$(tools/find_python.sh python3.13) && $(MAKE) --no-print-directory cpython-suite-run PYTHON="$$python"

# make chaos [SEED=n] [RUNS=n] [TASKS=n]
#
# Thousands of tasks under random stops and kills: see docs/chaos.md. The same seed makes the same choices;
# without one, each run has a new one. Only what was given is passed on: the defaults below are other targets'.
given = $(if $(filter command environment,$(origin $(1))),$(2) $($(1)))

.PHONY: chaos
chaos: $(VENV)/.test
	$(PY) tests/chaos/chaos.py $(call given,RUNS,--runs) $(call given,TASKS,--tasks) $(call given,SEED,--seed) $(ARGS)

.PHONY: cpython-suite-run
cpython-suite-run: $(VENV)/.base
	$(PY) tools/cpython_suite.py $(ARGS)

# An interrupt raced against what a task does, so many times at each instant; the suite does a few.
TIMES ?= 1000
SEED ?= 1
races: $(VENV)/.test
	STOPPABLE_TIMES=$(TIMES) STOPPABLE_SEED=$(SEED) $(PY) -m pytest -s tests/live/test_races.py $(ARGS)

# A mixed load for so many minutes; fails when descriptors, threads or memory grow.
MINUTES ?= 5
soak: $(VENV)/.bench
	$(PY) bench/soak.py --minutes $(MINUTES) $(ARGS)

# A million queued no-ops on 500 workers: some five minutes of two cores, 8 GB. TASKS=50000 WORKERS=50: seconds.
# ARGS=--simulate: the pure machine with a million tasks and 10,000 workers, a minute.
.PHONY: scale
scale: $(VENV)/.base
	$(PY) bench/scale.py $(call given,TASKS,--tasks) $(call given,WORKERS,--workers) $(ARGS)

# Every row of the table for every pool that bench/peers.py names, interleaved: three rounds, some ten minutes each.
# ARGS="--rounds 1 --cases stops,asks --peers stoppable,pebble --out /tmp/bench": less of it, elsewhere.
bench: $(VENV)/.bench
	$(PY) bench/run.py $(ARGS)

# What shows most, against five of them: a few minutes. Its table is not kept.
bench-quick: $(VENV)/.bench
	$(PY) bench/run.py --rounds 1 --cases flag,noops,chunks,round_trip,efficiency,arrays,stops,life --peers stoppable,"stdlib fork",mp.Pool,pebble,anyio --out build/bench-quick $(ARGS)

clean:
	rm -rf .venv .venv-* build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
