# Everything a developer or a newcomer runs. Needs Python 3.11 or newer, make and git; the rest is
# installed into .venv beside this file.

VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
ROOMS  := src tests bench demo tools
MINUTES ?= 30

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format docs bench soak clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## create .venv and install the package with its tools

$(READY): pyproject.toml tools/setup.sh
	@sh tools/setup.sh $(VENV)
	@touch $@

demo: $(READY) ## three nodes on this machine sync a real folder; DEMO_ONCE=1 ends by itself
	@$(PY) -m demo

test: $(READY) ## the whole test suite
	@$(PY) -m pytest

check: $(READY) ## formatting, lint, types, import rules, generated pages
	$(PY) -m ruff format --check $(ROOMS)
	$(PY) -m ruff check $(ROOMS)
	$(PY) -m mypy
	$(PY) -m tools.import_arrows
	$(PY) -m tools.reference --check

format: $(READY) ## let ruff rewrite the formatting
	$(PY) -m ruff format $(ROOMS)
	$(PY) -m ruff check --fix $(ROOMS)

docs: $(READY) ## write the generated pages of docs/reference again
	$(PY) -m tools.reference

bench: $(READY) ## the benchmarks; writes bench/results/*.json and prints one table
	@$(PY) -m bench

soak: $(READY) ## many seeds, long runs in network namespaces, fuzzing, for MINUTES=30
	@$(PY) -m tools.soak --minutes $(MINUTES)

clean: ## remove .venv, caches and what the demo left behind
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find $(ROOMS) -type d -name __pycache__ -exec rm -rf {} +
