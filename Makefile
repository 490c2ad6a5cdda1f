# What a newcomer needs is `make run` and `make test`; both set up what is missing first.

PORT ?= 8000
DATA_DIR ?= .data
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

BIN := .venv/bin
READY := .venv/.ok
WORDS := $(patsubst %.po,%.mo,$(wildcard web/locale/*/LC_MESSAGES/*.po))
TESTS ?=
PICTURES ?=

.DELETE_ON_ERROR:
.PHONY: run setup test lint audit lock screenshots clean

run: setup  ## everything on this machine, with demonstration members: make run PORT=8000 DATA_DIR=.data
	@exec $(BIN)/surplusflow up --data-dir "$(DATA_DIR)" --port $(PORT)

setup: $(READY) $(WORDS)  ## only the set-up

# The browser comes before the checks, so that its package manager's words do not come between them and the tests.
test: setup  ## everything that must hold: style, types, arrows, known vulnerabilities, tests
	@CHROMIUM=$$(sh tests/browser/install.sh) && export CHROMIUM && \
	$(MAKE) --no-print-directory lint && \
	{ $(MAKE) --no-print-directory audit || echo "The audit does not stop the tests."; } && \
	$(BIN)/pytest $(TESTS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: setup
	@$(BIN)/python tests/audit.py requirements.lock

lock: setup  ## resolve the dependencies anew; UPGRADE=--upgrade takes newer versions
	@$(BIN)/uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 --quiet $(UPGRADE) -o requirements.lock

screenshots: setup  ## the pictures of the documentation; PICTURES="error-* long-*" takes only those
	@CHROMIUM=$$(sh tests/browser/install.sh) && export CHROMIUM && set -f && $(BIN)/python -m tests.browser.screenshots $(PICTURES)

clean:  ## the set-up and the caches; the data directory stays
	@rm -rf .venv .browser .mypy_cache .ruff_cache .pytest_cache .import_linter_cache $(WORDS)

# Compiled ahead, because most of a start is loading: a dozen programs read the same modules.
# uv is itself one of the locked packages. It is quicker than pip by half a minute, and pip does where it is not to be had.
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Surplusflow needs Python 3.11 or newer."; exit 1; }
	@echo "Setting up .venv ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock > .venv/uv.lock
	@if $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r .venv/uv.lock; then \
		$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock; \
	else \
		$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements.lock; \
	fi
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --no-index -e .
	@$(BIN)/python -m compileall -q market matching settlement web || true
	@touch $@

%.mo: %.po $(READY)
	@$(BIN)/pybabel --quiet compile --input-file $< --output-file $@
