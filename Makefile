# `make sweep` and `make test` set up .venv by themselves; nothing else is needed first.
PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.installed
BENCH  := $(VENV)/bin/python -m bench

# Tests and sweeps start many processes, each of which would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install sweep test slow lint format clean

install: $(STAMP)

# The figure is drawn even when a run failed; the sweep's exit status is what make reports.
sweep: $(STAMP)
	$(BENCH) experiment=coverage_ablation; status=$$?; \
	$(BENCH) plot coverage_ablation && \
	$(BENCH) sync coverage_ablation --offline && exit $$status

# One process per core; the tests of a file share what they set up. In the order of their names the
# quick files of worlds/ come last, so that no core waits long for another.
test: lint
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

slow: $(STAMP)
	$(VENV)/bin/python -m pytest -m slow

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(STAMP)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)
