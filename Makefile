# Every target also runs on a fresh machine: what it needs is made first. Settings: PYTHON, PORT, DATA_DIR, JOBS,
# PYTEST_ARGS.
PYTHON ?= python3
PORT ?= 8888
DATA_DIR ?= var
JOBS ?= 3
# Where Python may not keep what it compiled, every server and worker that tests start compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow lint bench lock clean

help: ## Print this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Make .venv and install the pinned requirements

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: setup ## Serve on port 8888; builds the demo store first if there is none
	$(BIN)/python -m position_server serve --port $(PORT) --data-dir $(DATA_DIR)

test: setup ## Run the tests but the slow ones, JOBS files at a time (0: one after the other)
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-slow: setup ## Run the slow tests: kill-and-restart cycles
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## Check format, style, types and the walls of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

bench: $(VENV)/.installed-bench ## Measure the server against its peers; needs wrk; ARGS=--quick takes a minute
	$(BIN)/python -m bench.run --chart docs/images/bench.png $(ARGS)

lock: $(VENV)/.installed-dev ## Pin requirements.txt, requirements-dev.txt and requirements-bench.txt anew
	$(BIN)/pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --extra test --extra plot --extra agents -o requirements.txt pyproject.toml
	$(BIN)/pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --extra test --extra plot --extra agents --extra dev -o requirements-dev.txt pyproject.toml
	$(BIN)/pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --extra test --extra plot --extra agents --extra bench -o requirements-bench.txt pyproject.toml

clean: ## Remove .venv and caches; the data folder stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
