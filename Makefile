# Everything runs in .venv, made from requirements.lock: exact versions with hashes.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# dvc runs `python -m stages.…`: the environment's Python must be the first on PATH, as activation makes it.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv

define WALK
python -m examples.walkthrough $(if $(DATA),--data '$(DATA)') $(if $(KEEP),--keep '$(KEEP)') $(if $(S3),--store '$(S3)' --endpoint '$(ENDPOINT)')
endef

.PHONY: setup run test test-slow lint parity bench walkthrough walkthrough-docs lock clean

setup: .venv/.installed  ## make .venv from the lock

.venv/.installed: requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "trialtree needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d; name another: make PYTHON=python3.12 setup" % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: setup  ## run the pipeline, draw its plots, say what came out
	dvc repro
	python -m trialtree.summary

test: setup  ## the tests that take seconds
	pytest -n 2 --dist worksteal

test-slow: setup  ## the tests that take minutes
	pytest -n 2 --dist worksteal -m slow

lint: setup
	ruff check .
	ruff format --check .
	mypy

parity: setup  ## every figure of docs/parity.md, computed again
	python benchmarks/parity.py --write docs/parity.md

bench: setup  ## what the pipeline and sweeps cost, against DVC's own ways and plain scripts, what searches find, and what endpoints and batch prediction give
	python benchmarks/repro.py
	python benchmarks/sweep.py
	python benchmarks/search.py
	python benchmarks/serving.py
	python benchmarks/predict.py

walkthrough: setup  ## examples/walkthrough.md, run; DATA=cal_housing.data KEEP=FOLDER S3=s3://BUCKET/PREFIX ENDPOINT=https://…
	@$(WALK)

walkthrough-docs: setup  ## the same, and what it printed is written into the page
	@$(WALK) --write

lock: setup  ## the newest versions that pyproject.toml allows
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --group dev --output-file requirements.lock pyproject.toml
	grep '^uv==' requirements.lock | cut -d' ' -f1 | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --no-annotate --output-file requirements-uv.lock -

clean:  ## what `make setup` made
	rm -rf .venv
