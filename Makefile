# make demo: install, run suites/quick.yaml, print the ranking.   make test: install, run every test.
# make check: lint and every test that takes under a second, for the time between two changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# A process of tests for each core; which tests stay in one process, tests/helpers/side_by_side.py says.
SIDE_BY_SIDE := -n logical --maxprocesses 8

help:
	@echo 'make demo   install into $(VENV) and run suites/quick.yaml'
	@echo 'make check  lint, and the tests that take under a second each: 80 seconds on two cores'
	@echo 'make test   run every test, side by side; make test ARGS="tests/results -x" runs some, ARGS="-n 0" in one process'
	@echo 'make lint   ruff, mypy and the import layers'
	@echo 'make perf   time our loops against other libraries'
	@echo 'make perf-NAME  run another script of perf/, such as perf-membership_speed; perf/RESULTS.md names them'
	@echo 'make perf-autoattack   our AutoAttack beside those of others; an hour'
	@echo 'make gpu    what a GPU of this machine does: is it right, how fast; 9 minutes at the most; ARGS="--minutes 5" for less'
	@echo 'make gpu-folder   all that make gpu needs in the folder gpu-folder, for a machine without a network'
	@echo 'make clean  remove what make made; results are kept'

demo: $(VENV)/.installed
	$(BIN)/bench run suites/quick.yaml $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

check: lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not slow' $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

perf: perf/.venv/.installed
	perf/.venv/bin/python -m perf $(ARGS)

# An hour. ARGS="--original FOLDER" runs the authors' code too, where somebody has it.
perf-autoattack: perf/.venv/.installed
	perf/.venv/bin/python -m perf.autoattack $(ARGS)

# Scripts of perf/ that need no other library than the tests do: make perf-overfitted ARGS='--results results'.
perf-%: $(VENV)/.installed-dev
	$(BIN)/python -m perf.$* $(ARGS)

# On the machine that has the GPU, with whatever torch it has; no install.
gpu:
	$(PYTHON) -m perf.gpu $(ARGS)

# For a machine that has torch and no network; ARGS="--data FOLDER" takes Fashion-MNIST along, --have FILE says what is there.
gpu-folder: $(VENV)/.installed-dev
	$(BIN)/python -m perf.gpu.folder gpu-folder $(ARGS)

clean:
	rm -rf $(VENV) perf/.venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# A stamp is written last, so that an install that was cut off is done again.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(call venv,$(VENV))
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(call venv,$(VENV))
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@

# Its own pins: the peers need older libraries than ours. adv-lib apart: what it draws with no longer builds.
perf/.venv/.installed: perf/requirements.txt
	$(call venv,perf/.venv)
	perf/.venv/bin/python -m pip install --quiet -r perf/requirements.txt
	perf/.venv/bin/python -m pip install --quiet --no-deps adv-lib==0.2.8
	@touch $@

define venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo 'make: $(PYTHON) is not Python 3.11 or newer; install one and name it: make PYTHON=/path/to/python3.11'; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' || \
  { echo 'make: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv'; exit 1; }
@$(1)/bin/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv $(1)
@echo 'Installing into $(1): about 7 GB, some minutes at the first time ...'
endef

.PHONY: help demo test check lint perf perf-autoattack gpu gpu-folder clean
