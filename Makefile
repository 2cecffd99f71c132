# make demo   a clip from a prompt, and what the verifier says of it
# make test   everything the tests need, then the tests
# make test-live  the tests that run diffusers, transformers and PEFT beside ours; needs Python 3.11 on Linux
# make check  ruff, pyright, import-linter, tests
# make lint   the first three alone
# make chaos  a training run killed twenty times, whose losses must be those of one that was left alone
# make bench-provenance  from a stripped copy back to its credentials, the ledger's speed, mutants of signed files
# make bench-watermark   what the watermark survives, beside others: hours, but it can be stopped and continued
#
# PYTHON=python3.12 make test   picks the interpreter; VENV=dir the environment's folder; JOBS=1 how many processes test.

PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
LIVE ?= .venv-live
PROMPT ?= a dog runs to the left on a beach at sunset
SEED ?= 7
CLIP ?= demo/clip.mp4
TESTS ?= tests
JOBS ?= 2
WINDOWS ?= 100000
BENCH ?= runs/watermark-bench
MUTANTS ?= 50000
KILLS ?= 20
PROCESSES ?= 1

BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# One stamp for each interpreter version and set of packages, so that a change of any of them installs anew.
RUN := $(VENV)/.run-$(VERSION)
TEST := $(VENV)/.test-$(VERSION)
DEV := $(VENV)/.dev-$(VERSION)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo setup test test-live check lint chaos bench-provenance bench-watermark clean
.DELETE_ON_ERROR:

demo: $(RUN)
	@mkdir -p $(dir $(CLIP))
	$(BIN)/sorajax generate "$(PROMPT)" --seed $(SEED) -o $(CLIP) --overwrite
	@echo "The clip is $(abspath $(CLIP)). What provenance verify says of it:"
	@$(BIN)/provenance verify $(CLIP) || test $$? -eq 4  # 4: signed by a development identity, on nobody's trust list

setup: $(TEST)

test: $(TEST)
	$(BIN)/python -m pytest $(TESTS) --numprocesses $(JOBS) --dist loadfile

# An environment on top of the tests' own, so that only the other implementations are installed in it.
test-live: $(LIVE)/.ready
	$(LIVE)/bin/python -m pytest tests -m live

check: lint test

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

chaos: $(RUN)
	PYTHONPATH=. $(BIN)/python benchmarks/chaos.py --kills $(KILLS) --processes $(PROCESSES)

bench-provenance: $(RUN)
	PYTHONPATH=. $(BIN)/python benchmarks/provenance_recovery.py --jobs $(JOBS)
	PYTHONPATH=. $(BIN)/python benchmarks/fingerprint.py
	PYTHONPATH=. $(BIN)/python benchmarks/ledger.py
	PYTHONPATH=. $(BIN)/python benchmarks/fuzz_verifier.py --count $(MUTANTS)

# The other watermarks bring OpenCV and more, so they get an environment of their own.
bench-watermark: $(RUN) $(PEERS)/.ready
	@mkdir -p $(BENCH)
	PYTHONPATH=. $(BIN)/python benchmarks/watermark.py --small --saved 24 --false-alarms $(WINDOWS) --jobs $(JOBS) \
		--peers-python $(PEERS)/bin/python --json $(BENCH)/results.jsonl --plot $(BENCH)/watermark.png \
		> $(BENCH)/tables.part
	@mv $(BENCH)/tables.part $(BENCH)/tables.md && cat $(BENCH)/tables.md

$(LIVE)/.ready: $(TEST)
	@$(PYTHON) -m venv --clear $(LIVE)
	@echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
		> $$($(LIVE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth
	@$(LIVE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	@$(LIVE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		diffusers==0.42.1 transformers==5.24.0 accelerate peft==0.21.2
	@touch $@

# --no-deps: invisible-watermark asks for PyTorch, which is not needed here. Without these packages peers are left out.
$(PEERS)/.ready:
	@$(PYTHON) -m venv --clear $(PEERS)
	@{ $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		invisible-watermark==0.2.0 blind-watermark==0.4.4 && \
		$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		numpy opencv-python-headless PyWavelets onnxruntime 2> $(PEERS)/pip.log && touch $@; } || \
		echo "The other watermarks cannot be installed here; they are left out" >&2

clean:
	rm -rf $(VENV) $(PEERS) $(LIVE) build dist demo

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
