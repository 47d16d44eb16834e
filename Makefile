# Nothing but Python 3.11+ and make is needed. Each target installs what it needs once, into .venv.
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# Imports would compile anew at every start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint check docs fix results constraints clean

demo: .venv/.all
	$(BIN)/mend demo

# All but what takes long for what it finds: the demo, the notebook, processes that are killed, and what else is marked slow.
test: .venv/.dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not alone"

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/pytest -n 2 --dist worksteal -m "not alone"
	$(BIN)/pytest -m alone

# Into build/site; a link that leads nowhere is an error. The tests do the same.
docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fix: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# .venv/.all, .venv/.dev: the extra of that name is installed.
.venv/.%: .venv/.uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[$*]'
	touch $@

# A .venv made by `uv venv` has no pip.
.venv/.uv:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	touch $@

results: .venv/.all
	$(BIN)/mend report --results results/cifar10-object-v1.json --into docs/results.md
	$(BIN)/python benchmarks/pages.py

constraints: .venv/.uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --no-emit-index-url --no-header --no-annotate pyproject.toml -o constraints.txt

clean:
	rm -rf .venv
