# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Files of tests run side by side where time matters little; each of these processes has databases and studies of its own.
TESTERS ?= 2
SIDE_BY_SIDE := -n $(TESTERS) --dist loadfile
# Where the pictures are kept that tests make of each page.
export ADAI_SCREENSHOTS ?= build/screenshots

.DEFAULT_GOAL := help
.PHONY: help install demo test test-processes test-reports test-dashboards test-faults test-compose backup restore check bench docs clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## Make .venv with the pinned dependencies and this project

# Debian without python3-venv has no ensurepip: its own pip then installs pip into the environment.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --quiet --python $(BIN)/python install pip; }
	@echo "Installing the pinned dependencies into .venv: about 6 GB and a minute or two, the first time only"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## Run the shipped digits study from the start and write its report to demo/
	rm -rf demo && mkdir demo
	$(BIN)/adai-study run study/specs/digits.toml --db sqlite:///demo/adai-study.db --out demo/report

test: check ## Run all checks, and all tests but those that the next five targets run
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not processes and not faults and not reports and not dashboards and not compose"

test-processes: $(INSTALLED) ## Run the tests of commands, servers and pools of workers (some minutes)
	$(BIN)/pytest -m processes

test-reports: $(INSTALLED) ## Run the tests that make, change and verify whole reports (a few minutes)
	$(BIN)/pytest $(SIDE_BY_SIDE) -m reports

test-dashboards: $(INSTALLED) ## Run the tests that use the dashboard in Chromium and attack its API (some minutes)
	$(BIN)/pytest -m dashboards

test-faults: $(INSTALLED) ## Run the tests that kill clusters, servers and drivers (about twenty minutes)
	$(BIN)/pytest -m faults

test-compose: $(INSTALLED) ## Run the tests of the deployment, on a real Docker engine (about a quarter of an hour; skipped without one)
	$(BIN)/pytest -m compose

backup: ## Write database and reports of the running deployment into backups/
	@deploy/backup.sh

restore: ## Put a backup in the place of what is there: make restore FROM=backups/...
	@deploy/restore.sh "$(FROM)"

check: $(INSTALLED) ## Format, lint and type checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	MYPYPATH=deploy $(BIN)/mypy deploy/*.py

bench: $(INSTALLED) ## Measure engines, whole studies, database and driver beside what users would write, into benchmarks/results/
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/studies.py --workloads digits-logistic digits-mlp --epochs 200 --yardstick-trials 8
	$(BIN)/python benchmarks/studies.py --workloads digits-cnn mnist1d-cnn --yardstick-trials 8 --name studies-cnn
	$(BIN)/python benchmarks/database.py
	$(BIN)/python benchmarks/driver_overhead.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/dashboard.py

docs: $(INSTALLED) ## Write the generated part of docs/ anew and check all of it
	$(BIN)/python docs/generate.py
	$(BIN)/pytest tests/test_docs.py

clean: ## Remove the environment, caches and the demo
	rm -rf .venv demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
