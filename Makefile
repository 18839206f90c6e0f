# Everything a fresh clone needs: `make setup`, then `make check test`. Needs Linux, Python 3.11 or newer, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 1000
HOURS ?=
KILLS ?= 100
MINUTES ?= 10
CHECKPOINTS ?= 1000000
BENCH ?= .bench
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup check lint format types layers dependencies test coverage demo soak siege race bench terraform clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.setup  ## create .venv with everything that development needs; repeating it costs nothing

# The stamps are written last, so an installation that was broken off is simply done again.
$(VENV)/.setup: pyproject.toml | $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@ $(VENV)/.demo

$(VENV)/.demo: pyproject.toml | $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

# pip reads dependency groups from 25.1 on.
$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ckpt-archive needs Python 3.11 or newer, and" \
	  "$(PYTHON) is `$(PYTHON) --version`: name another one with 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

check: lint format types layers dependencies  ## everything that can be told without running the code

lint: $(VENV)/.setup  ## ruff's rules
	$(BIN)/ruff check .

format: $(VENV)/.setup  ## ruff's format, looked at only
	$(BIN)/ruff format --check .

types: $(VENV)/.setup  ## mypy, strict
	$(BIN)/mypy

layers: $(VENV)/.setup  ## who may import whom
	$(BIN)/lint-imports

dependencies: $(VENV)/.setup  ## what is imported is declared, and the other way round
	$(BIN)/deptry .

test: $(VENV)/.setup  ## all tests; PYTEST_WORKERS=0 for one process
	$(BIN)/pytest --numprocesses $(PYTEST_WORKERS) --dist loadfile

coverage: $(VENV)/.setup  ## all tests, and which branches they did not take
	$(BIN)/pytest --numprocesses $(PYTEST_WORKERS) --dist loadfile --cov --cov-report term:skip-covered --cov-report html

demo: $(VENV)/.demo  ## the whole story on this machine: train, kill, resume, look, verify, restore
	$(BIN)/ckpt-archive demo

soak: $(VENV)/.setup  ## simulated lives on all cores: SEEDS=1000 of them, or HOURS=2, which may be broken off and go on
	$(BIN)/python -m ckpt_archive.testing.soak --state .soak $(if $(HOURS),--hours $(HOURS),--seeds $(SEEDS))

siege: $(VENV)/.setup  ## KILLS=100 real processes killed beside a real server, and a quarter as many beside a cluster
	$(BIN)/python -m ckpt_archive.testing.siege --kills $(KILLS)
	$(BIN)/python -m ckpt_archive.testing.siege --kills $$(($(KILLS) / 4)) --cluster

race: $(VENV)/.setup  ## MINUTES=10 of syncs, compactions and questions at once, killed at random; every row accounted for at the end
	$(BIN)/python -m ckpt_archive.testing.sync_race --minutes $(MINUTES)

bench: $(VENV)/.setup  ## the index at 0.1 to CHECKPOINTS=1000000 checkpoints, in the folder BENCH; ten million need 10 GB there
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python bench/index_scale.py --folder $(BENCH) --largest $(CHECKPOINTS)

terraform:  ## checkov on the Terraform module, in an environment of its own
	terraform/check.sh

clean:  ## remove everything that was made here
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
