# make table1   set everything up, run the main job, render Table 1, Figure 5 and the tests
# make test     set everything up and run the tests
# make check    format, lint, types, tests: the gate
# make strips   draw film strips of new experts and show them in the README
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS := 1

.PHONY: setup table1 test check format strips clean
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

TASKS := cartpole mountaincar acrobot hopper walker2d halfcheetah ant humanoid
STRIPS := $(foreach task,$(TASKS),$(if $(wildcard datasets/experts/$(task).pt),results/strips/$(task).png))

strips: setup $(STRIPS)
	{ sed '/strips:begin/q' README.md; \
	  for task in $(basename $(notdir $(STRIPS))); do printf '![An episode of %s](results/strips/%s.png)\n' $$task $$task; done; \
	  sed -n '/strips:end/,$$p' README.md; } > README.md.partial
	mv README.md.partial README.md

results/strips/%.png: datasets/experts/%.pt | setup
	$(BIN)/bench watch --expert $* --out $@

clean:
	rm -rf $(VENV) build *.egg-info
