# Thin: each line is a command a person could type.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet -c constraints.txt

.PHONY: demo test lint clean

# The main job on the embedded phantom, from a bare checkout.
demo: $(VENV)/.installed
	$(BIN)/benchbcss run sam2_v3 mask2former
	$(BIN)/benchbcss leaderboard

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto -q

lint: $(VENV)/.installed-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

$(VENV)/.installed: pyproject.toml constraints.txt requirements-sam2.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch torchvision setuptools wheel
	SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation --no-deps --require-hashes -r requirements-sam2.txt
	$(PIP) -e '.[all]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[all,test]'
	touch $@

clean:
	rm -rf $(VENV) benchbcss-workspace
