# `make sweep` and `make test` set up .venv by themselves; nothing else is needed first.
PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.installed

.PHONY: sweep test slow lint format clean

# The figure is drawn even when a run failed; the sweep's exit status is what make reports.
sweep: $(STAMP)
	$(VENV)/bin/python -m bench experiment=coverage_ablation; status=$$?; \
	$(VENV)/bin/python -m plots coverage_ablation && \
	$(VENV)/bin/python -m bench sync coverage_ablation --offline && exit $$status

test: lint
	$(VENV)/bin/python -m pytest

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
