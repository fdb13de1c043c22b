# make table1   set everything up, run the main job, render Table 1, Figure 5 and the tests
# make test     set everything up and run the tests
# make check    format, lint, types, tests: the gate
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS := 1

.PHONY: setup table1 test check format clean
setup: $(VENV)/.ready

# Everything is pinned in constraints.txt; a second run finds the marker newer than both files and does nothing.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

table1: setup
	$(BIN)/bench run --table1
	$(BIN)/bench analyze

test: setup
	$(BIN)/pytest -n 2

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info
