# What a person types here. Everything works from nothing but Python 3.11 or newer and make.

PYTHON ?= python3
BIN := .venv/bin
# One more than there are processors: much of the tests' time is waiting, for brokers and for what is killed.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 1)')
M2 := $(BIN)/m2

.PHONY: help setup demo test soak lint bench docs clean

help:
	@echo "make demo    see m2's point in a minute: sample data, whole visits, a purchase traced to its root"
	@echo "make test    run the tests"
	@echo "make soak    run the tests that take minutes, and the properties with many more examples"
	@echo "make lint    check style, types and the directions of imports"
	@echo "make bench   measure speed against the floors and the peers named in tests/bench"
	@echo "make docs    write the reference in docs/reference from the commands and the schema"
	@echo "make clean   remove what the other targets made"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "m2 needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev --editable .
	@touch $@

demo: setup
	@rm -rf demo
	$(M2) sessionize sample_data/events.parquet -o demo/lake
	$(M2) query "SELECT country, count(*) AS visits, coalesce(round(sum(revenue), 2), 0) AS revenue FROM human_visits GROUP BY ALL ORDER BY visits DESC LIMIT 5" --lake demo/lake
	$(M2) trace a5a1d93c25f20e75 --lake demo/lake

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

soak: setup
	M2_HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "soak or not soak"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m tests.bench

docs: setup
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
