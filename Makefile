# make demo   set everything up and run the main job on a zoo that is made on the spot
# make test   set everything up and run the tests
# make lint   check style and types
# make bench  run the benchmarks and append their rows to experiments/benchmarks/results.csv

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench install clean

install: $(INSTALLED)

$(INSTALLED): setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,notebooks]'
	touch $(INSTALLED)

demo: install
	cd experiments/inr_classification && $(BIN)/python main.py --multirun encoder=flat_mlp,ng_gnn_probes

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	cd experiments/benchmarks && for script in bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV)
