# make demo   the whole story on real data, in demo/
# make test   linters, types, tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Larger data sets, where they lie beside the checkout; see `snnrobust data where`.
ifndef SNNROBUST_DATA
ifneq ($(wildcard ../shared/data),)
export SNNROBUST_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: demo test format clean

demo: $(VENV)/.installed-xarray
	$(BIN)/snnrobust demo

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -u -m pytest

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One stamp an extra, renewed when the metadata change.
$(VENV)/.installed-%: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade --progress-bar off pip
	$(BIN)/python -m pip install --progress-bar off --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache demo
