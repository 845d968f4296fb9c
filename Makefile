# Every target of the project. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# The first Python >= 3.11 on the PATH; `make demo PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# Containers often set it; each of the many processes would then compile the sources again.
export PYTHONDONTWRITEBYTECODE :=
SCANS ?=
SHORT ?=
ONLY ?=
COUNT ?= 5000
SEED ?= 0

.PHONY: help demo test test-slow fuzz gpu lint format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer on the PATH; name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv

# Only what predicting, building and training need.
.venv/.installed-demo: .venv/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing darnet-trt[cpu,train] into .venv (once, a few minutes)" >&2
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[cpu,train]'
	@touch $@

.venv/.installed-dev: .venv/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing darnet-trt[dev] into .venv (once, a few minutes)" >&2
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[dev]'
	@touch $@ .venv/.installed-demo

# An environment of its own: onnxruntime-gpu and onnxruntime overwrite each other's files, and the
# torch of .venv may be the CPU build.
.venv-gpu/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer on the PATH; name one with PYTHON=..." >&2; exit 1; }
	@echo "Installing darnet-trt[gpu-test] into .venv-gpu (once, several GB)" >&2
	@$(PYTHON) -m venv .venv-gpu
	@.venv-gpu/bin/python -m pip install -qq -c constraints.txt -e '.[gpu-test]'
	@touch $@

demo: .venv/.installed-demo ## Phantoms, training, engine, prediction, report; SCANS="path …" adds yours
	@$(BIN)/python examples/demo.py --out demo $(SCANS)

# Whole files go to the workers, so that what a file's tests share is made once.
test: .venv/.installed-dev ## The tests, without the slow ones
	@$(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist loadfile --no-loadscope-reorder

# One after the other: each uses all CPUs.
test-slow: .venv/.installed-dev ## The tests that train at length; SHORT=1 for a short form
	@DARNET_TEST_SHORT=$(SHORT) $(BIN)/python -m pytest -m slow

fuzz: .venv/.installed-dev ## 5,000 damaged scans, into fuzz-findings/; COUNT=… SEED=… changes which
	@$(BIN)/python -m tests.scan.fuzz.run --count $(COUNT) --seed $(SEED)

gpu: .venv-gpu/.installed ## All that needs a GPU and nvcc, into gpu-report/; ONLY="part …" chooses
	@.venv-gpu/bin/python -m benchmarks.gpu.run $(if $(ONLY),--only $(ONLY))

lint: .venv/.installed-dev ## Formatting, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: .venv/.installed-dev ## Format, and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove the virtual environment, the demo and the caches
	rm -rf .venv .venv-gpu demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
