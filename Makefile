# make demo   from ten class names to a verified classifier, offline, on a CPU
# make test   the tests                     make lint    ruff and pyright
# make check  lint, then test               make format  let ruff rewrite the code
# make browser  Chromium and onnxruntime-web for the tests of the web page
# make bench  speed and memory              make clean   remove caches, builds and the demo's run; the rest of runs/ stays

PYTHON ?= python3
BIN := .venv/bin
PYTEST_ARGS ?=

DEMO_CLASSES ?= dog,cat,house,car,horse,tree,fish,umbrella,camera,bus
DEMO_RUN := runs/demo
DEMO ?= $(BIN)/promptstill from-names --classes "$(DEMO_CLASSES)" --out $(DEMO_RUN) --benchmark pictograms

BENCHMARKS := $(sort $(wildcard benchmarks/[a-z]*.py))

.DEFAULT_GOAL := check
.PHONY: demo test browser check lint format bench clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check -c constraints.txt -e '.[dev,export,diffusion]'
	@touch $@

demo: .venv/.installed
	$(DEMO)

test: .venv/.installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# What the tests of the web page need beside pip's packages; without it they are skipped, and say so.
browser: .venv/.installed
	@command -v chromium-headless-shell || command -v chromium || command -v google-chrome || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-headless-shell; }
	$(BIN)/python -c "from promptstill.stages.page import fetch_runtime; print(fetch_runtime())"

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint
	$(MAKE) test

format: .venv/.installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.installed
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf build dist $(DEMO_RUN) .pytest_cache .ruff_cache .hypothesis
	find src tests recipes benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
