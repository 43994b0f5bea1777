# Thin: each line is a command a person could type.
PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Every package is checked against a hash; build isolation would fetch unhashed ones.
PIP := $(BIN)/python -m pip install --quiet --no-build-isolation
LOCKED := $(PIP) --require-hashes
EMPTY_TREE := 4b825dc642cb6eb9a060e54bf8d69288fbee4904

.PHONY: demo test bench browser lint lock docs site leaderboard picture clean

# The main job on the embedded phantom, from a bare checkout.
demo: $(VENV)/.installed
	$(BIN)/benchbcss run sam2_v3 mask2former
	$(BIN)/benchbcss leaderboard

# This project's own leaderboard, on synthetic images: runs what is missing, keeps the records in
# leaderboard/results, writes leaderboard/README.md and the pictures. Hours without a GPU; it can be stopped.
leaderboard: $(VENV)/.installed
	$(BIN)/python leaderboard/refresh.py

# The pages and pictures alone, from the records that are kept.
picture: $(VENV)/.installed
	$(BIN)/python leaderboard/refresh.py --pages

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal -q

# Speed against peers, as ratios: `make bench CASES="counts scoring"`; all usual cases by default.
bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.speed $(CASES)

# What the report's browser tests need beside Debian's chromium; without it they are skipped.
browser:
	npm ci --ignore-scripts --no-audit --no-fund --prefix tests/report/axe

# The last line finds trailing whitespace and conflict markers in tracked files.
lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git diff --cached --check $(EMPTY_TREE)

$(VENV)/.installed: pyproject.toml requirements-build.lock requirements.lock requirements-sam2.txt
	$(PYTHON) -m venv --clear $(VENV)  # what an older lock left behind could shadow the new
	$(LOCKED) -r requirements-build.lock
	$(LOCKED) -r requirements.lock
	SAM2_BUILD_CUDA=0 $(LOCKED) --no-deps -r requirements-sam2.txt
	$(PIP) --no-deps -e .
	$(BIN)/python -m pip check
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.lock
	$(LOCKED) -r requirements-test.lock
	touch $@

# Resolves pyproject.toml again for Python 3.11 and later, keeping versions that still fit.
# Needs uv (pip install uv); `make lock UPGRADE=--upgrade` takes the newest versions.
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" --no-emit-package sam2 $(UPGRADE)
lock:
	$(COMPILE) --group build --extra all --extra test pyproject.toml -o requirements-test.lock >/dev/null
	$(COMPILE) --group build --extra all pyproject.toml -c requirements-test.lock -o requirements.lock >/dev/null
	$(COMPILE) --group build -c requirements-test.lock -o requirements-build.lock >/dev/null

# Writes the pages that are generated from the code.
docs: $(VENV)/.installed
	$(BIN)/python -m benchbcss.cli.reference --write

# The documentation site in build/site/html, with warnings as errors.
site: $(VENV)/.installed-test
	$(BIN)/python docs/site/build.py

clean:
	rm -rf $(VENV) benchbcss-workspace
