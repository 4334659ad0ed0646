# Everything runs in .venv, which is made when it is missing. PYTHON=python3.12 picks the interpreter.

PYTHON ?= python3
VENV := .venv
WAVS ?= wavs
OUT ?= shards
SECONDS ?= 60
OPTIONS ?= --bits 8 --split train=0.9,val=0.1
TESTS ?=
SHARE ?= 0.1
ROUNDS ?= 5
PEERS ?= $(VENV)/bin/python
RESULTS ?= benchmarks/results

.DEFAULT_GOAL := help
.PHONY: help dataset test test-all lint fuzz bench clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dataset: $(VENV)/.installed ## Build a dataset from WAVS=folder in OUT=folder and inspect it; without WAVS, from samples made here
ifeq ($(origin WAVS),file)
	$(VENV)/bin/python examples/make_wavs.py wavs
endif
	$(VENV)/bin/audiochunk build "$(WAVS)" --out "$(OUT)" $(OPTIONS)
	$(VENV)/bin/audiochunk inspect "$(OUT)"

test: $(VENV)/.installed-dev ## Run all tests, or those of TESTS
	$(VENV)/bin/python -m pytest -n auto $(TESTS)

test-all: $(VENV)/.installed-all ## Run all tests, those with PyTorch, JAX and the examples too (installs gigabytes)
	$(VENV)/bin/python -m pytest -n auto $(TESTS)

lint: $(VENV)/.installed-dev ## Check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

fuzz: $(VENV)/.installed-fuzz ## Fuzz every parser for SECONDS=60 each
	for target in riff manifest recordings raw_shard zstd_shard; do \
		$(VENV)/bin/python tests/fuzz/run.py $$target $(SECONDS) || exit 1; \
	done

bench: $(VENV)/.installed-bench ## Time builds and reads of SHARE=0.1 of the corpora, ROUNDS=5; PEERS=python that has benchmarks/peers.txt
	for script in startup build read scaling; do \
		$(VENV)/bin/python benchmarks/$$script.py --share $(SHARE) --rounds $(ROUNDS) --peers-python "$(PEERS)" --out "$(RESULTS)" || exit 1; \
	done
	$(VENV)/bin/python benchmarks/plots.py "$(RESULTS)"

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

$(VENV)/.installed: pyproject.toml setup.cfg
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "audiochunk needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(VENV)/.installed-all: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

$(VENV)/.installed-fuzz: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	touch $@
