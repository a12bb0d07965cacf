# make demo   the whole story on real data, in demo/
# make test   linters, types, tests
# make oracles   other simulators that the tests compare with; `make test` tries it, and goes on without a network
# make browser   a Chromium for the tests of the report, by the system's package manager; `make test` tries it
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Larger data sets, where they lie beside the checkout; see `snnrobust data where`.
ifndef SNNROBUST_DATA
ifneq ($(wildcard ../shared/data),)
export SNNROBUST_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: demo test oracles browser format clean

demo: $(VENV)/.installed-xarray
	$(BIN)/snnrobust demo

# aihwkit is read from its source, which needs no compiler; its own dependencies are not those of the tests.
ORACLES := .oracles
AIHWKIT := aihwkit-1.2.0
export AIHWKIT_SOURCE ?= $(abspath $(ORACLES)/$(AIHWKIT))

test: $(VENV)/.installed-test
	-$(MAKE) oracles
	@$(MAKE) --no-print-directory browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -u -m pytest

oracles: $(ORACLES)/.installed

$(ORACLES)/.installed: setup.cfg | $(VENV)/.installed-test
	mkdir -p $(ORACLES)
	$(BIN)/python -m pip download --retries 1 --progress-bar off --no-deps --no-binary aihwkit --dest $(ORACLES) \
		$(subst -,==,$(AIHWKIT))
	tar -xzf $(ORACLES)/$(AIHWKIT).tar.gz -C $(ORACLES)
	$(BIN)/python -m pip install --retries 1 --progress-bar off --no-deps badcrossbar pathvalidate sigfig
	touch $@

browser:
	@.ci/browser

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
	rm -rf $(VENV) $(ORACLES) build *.egg-info .mypy_cache .ruff_cache .pytest_cache demo
