# Two commands do everything themselves: `make run` and `make test`.
#   make run PYTHON=python3.13      another Python (3.11 or later)
#   make test WORKERS=8             more tests at once
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(if $(shell \
	$(name) -c 'import sys; print("y" if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(name))) python3)
PIP := PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test lint bench bench-peers soak docs clean

run: $(VENV)/.run
	@$(BIN)/prefrontal serve

test: lint
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.test
	$(BIN)/ruff check src tests bench
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m bench

bench-peers: $(VENV)/.test
	$(BIN)/python -m bench.peers

soak: $(VENV)/.test
	$(BIN)/python -m bench.soak

docs: $(VENV)/.test
	$(BIN)/python -m prefrontal.config.reference docs/configuration.md src/prefrontal/config/schema.json
	$(BIN)/python -m prefrontal.providers.reference docs/providers.md
	$(BIN)/python -m prefrontal.cli.reference docs/cli.md

# A half-made environment is removed again: the next `make` would take it for a whole one.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed, and '$(PYTHON)' is not one. Try: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV)" >&2
	@$(PIP) -e '.[local]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV), with what the tests need" >&2
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
