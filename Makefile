# One command each: demo, test, format. A fresh machine needs Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: help setup demo test lint format clean

help:
	@echo "make demo    set up, then train, evaluate, report, export, serve and ask for images (under 3 minutes)"
	@echo "make test    set up, then lint, types and all tests"
	@echo "make format  rewrite the sources as the linter wants them"

setup: $(VENV)/installed

$(VENV)/installed: requirements.txt pyproject.toml
	@echo "setting up $(VENV) (about 3 GB, some minutes)"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --requirement requirements.txt
	$(PY) -m pip install --quiet --no-deps --config-settings editable_mode=compat --editable .
	@touch $@

demo: setup
	@PYTHON=$(PY) bash docs/demo.sh

test: lint
	$(PY) -m pytest -n auto --dist loadfile

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf demo build .mypy_cache .pytest_cache .ruff_cache
