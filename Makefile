# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make demo   set up and run the main job
#   make test   set up and pass the tests
# A third runs others' material, read from checkouts in the folder that KUBELING_UPSTREAM names:
#   make conformance

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test conformance check setup setup-test clean

demo: setup
	$(BIN)/kubeling demo

test: setup-test check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

conformance: setup-test
	$(BIN)/python -m tests.conformance

check: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --platform linux
	$(BIN)/mypy --platform darwin
	$(BIN)/lint-imports

setup: $(VENV)/.installed

setup-test: $(VENV)/.installed-test

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kubeling needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv

$(VENV)/.installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[demo]'
	$(BIN)/python -m compileall -q src
	touch $@

$(VENV)/.installed-test: pyproject.toml tools/setup_tests.sh | $(BIN)/uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[demo,onnx,lightgbm,jupyter]' --group dev
	sh tools/setup_tests.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV)
