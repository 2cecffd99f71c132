# make demo   a clip from a prompt, and what the verifier says of it
# make test   everything the tests need, then the tests
# make check  ruff, pyright, import-linter, tests
# make lint   the first three alone
#
# PYTHON=python3.12 make test   picks the interpreter; VENV=dir the environment's folder.

PYTHON ?= python3
VENV ?= .venv
PROMPT ?= a dog runs to the left on a beach at sunset
SEED ?= 7
CLIP ?= demo/clip.mp4
TESTS ?= tests

BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# One stamp for each interpreter version and set of packages, so that a change of any of them installs anew.
RUN := $(VENV)/.run-$(VERSION)
TEST := $(VENV)/.test-$(VERSION)
DEV := $(VENV)/.dev-$(VERSION)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check lint clean
.DELETE_ON_ERROR:

demo: $(RUN)
	@mkdir -p $(dir $(CLIP))
	$(BIN)/sorajax generate "$(PROMPT)" --seed $(SEED) -o $(CLIP) --overwrite
	@echo "The clip is $(abspath $(CLIP)). What provenance verify says of it:"
	@$(BIN)/provenance verify $(CLIP) || test $$? -eq 4  # 4: signed by a development identity, on nobody's trust list

test: $(TEST)
	$(BIN)/python -m pytest $(TESTS)

check: lint test

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist demo

$(RUN): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is not Python 3.11 or newer; name another: PYTHON=python3.12 make $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) with Python $(VERSION) (some minutes the first time)"
	@$(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null || \
		$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) --editable .
	@touch $@

$(TEST): $(RUN)
	@$(INSTALL) --editable '.[test]'
	@touch $@

$(DEV): $(TEST)
	@$(INSTALL) --editable '.[dev]'
	@touch $@
