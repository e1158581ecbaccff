# Everything starts here. Python 3.11 or newer is all that must be there; see tools/boot.py.

PYTHON ?= python3
BOOT := $(PYTHON) tools/boot.py
BIN := .venv/bin
# One more than there are cores: tests wait for servers and signals a good part of their time.
TEST_PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# What to test, and how: `make test TESTS="tests/unit -k cursor"`.
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help demo up test chaos lint generate verify bench bench-queue lock freeze clean
MAKEFLAGS += --no-print-directory

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## restore a damaged photograph while the progress bar moves
	@$(BOOT) up
	@$(BIN)/safelight demo

up: ## run the whole service on this machine, with its page (SAFELIGHT_PORT, SAFELIGHT_DATA)
	@$(BOOT) up
	@exec $(BIN)/safelight up

test: ## lint, then run the whole suite on its own servers
	@$(BOOT) dev
	@$(MAKE) lint
	@$(BIN)/pytest -q -n $(TEST_PROCESSES) --dist loadgroup --timeout 180 $(TESTS)

chaos: ## a hundred thousand jobs while everything fails in turn; the last line says whether one was lost
	@$(BOOT) dev
	@PYTHONPATH=tests $(BIN)/python -m chaos.campaign

lint: ## style, types and the import law
	@$(BOOT) dev
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@said=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$said"; exit 1; }

generate: ## write what is generated: protocol/*.json, the schema
	@$(BOOT) dev
	@$(BIN)/python tools/generate.py

verify: ## say whether what is generated is up to date
	@$(BOOT) dev
	@$(BIN)/python tools/generate.py --check

bench: ## compare with the rivals; the last lines are the figures
	@$(BOOT) bench
	@$(BIN)/python benchmarks/run.py

bench-queue: ## compare the queue with all its rivals
	@$(BOOT) bench
	@$(BIN)/python benchmarks/run.py --only queue --full

lock: ## resolve the dependencies anew, into requirements/
	@$(BOOT) lock

freeze: ## keep this release, for the test that the next one runs beside it; once, when it is made
	@$(BOOT) dev
	@$(BIN)/python tools/freeze.py

clean: ## remove what was installed and built; data/ stays
	rm -rf .venv .wheels .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
