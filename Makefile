# Each target sets up what it needs in $(VENV): make demo, make test, make check, make bench;
# make bench-peers compares with ANDES, which it puts into $(ANDES_VENV).
# Another interpreter:  make test PYTHON=python3.12 VENV=.venv312
VENV ?= .venv
ANDES_VENV ?= .venv-andes
BIN := $(VENV)/bin
# extras of setup.cfg that $(VENV) has; .ci/run adds `peers`
EXTRAS ?= dev
PYTHON ?= $(if $(wildcard $(BIN)/pip),$(BIN)/python,python3)
ASK := 'import sys; print("%d.%d" % sys.version_info[:2])'
VERSION := $(shell $(PYTHON) -c $(ASK))
READY := $(VENV)/.ready-$(VERSION)

.PHONY: demo test check bench bench-peers clean

demo: $(READY)
	@$(BIN)/gridloop demo

test: $(READY)
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls \
	    --allow-any-generics --no-warn-unused-ignores
	$(BIN)/lint-imports --no-logo

bench: $(READY)
	@missed=0; for part in run market negotiation; do $(BIN)/python benchmarks/$$part.py || missed=1; done; exit $$missed

bench-peers: $(READY) $(ANDES_VENV)/.ready
	$(BIN)/python benchmarks/peers.py $(ANDES_VENV)/bin/python

clean:
	test ! -e $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	test ! -e $(ANDES_VENV)/pyvenv.cfg || rm -rf $(ANDES_VENV)
	rm -rf build dist gridloop.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find benchmarks hil scenarios simulators tests -name __pycache__ -prune -exec rm -rf {} +

# ANDES is GPL-3: it stays in an environment of its own, gridloop never imports it.
$(ANDES_VENV)/.ready:
	@echo "Setting up $(ANDES_VENV) with ANDES (750 MB on disk)"
	@test -e $(ANDES_VENV)/bin/pip || $(PYTHON) -m venv $(ANDES_VENV)
	@$(ANDES_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'andes ==2.0.0'
	@touch $@

# The version in the stamp's name: a $(VENV) of another Python is not silently taken for the one asked for.
$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "gridloop needs Python 3.11 or newer, $(PYTHON) is '$(VERSION)'; try make PYTHON=python3.12" >&2; exit 1; }
	@test ! -e $(BIN)/pip || test "$$($(BIN)/python -c $(ASK))" = "$(VERSION)" || \
	    { echo "$(VENV) is not of Python $(VERSION); set VENV=.venv$(VERSION) too, or run make clean" >&2; exit 1; }
	@echo "Setting up $(VENV) with Python $(VERSION); the first time this downloads about 350 MB (1.3 GB on disk)"
	@test -e $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@
