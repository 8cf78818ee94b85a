# Every target sets up what it needs by itself, in .venv, once.

# The first of these that is Python 3.11 or newer makes .venv.
PYTHON ?= python3 python3.13 python3.12 python3.11
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test faults bench screenshots lint matrix clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## Serve the example site (ARGS="--port 8001 --workers 4")
	$(BIN)/python manage.py demo $(ARGS)

test: .venv/.test ## Run the tests; all of them, with coverage, or some (ARGS="-k name")
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
endif

faults: .venv/.test ## Print what holds under faults (FULL=1 for the full sizes; ARGS="-k chaos")
	$(BIN)/python -m tests.figures $(ARGS)

bench: .venv/.bench ## Measure against the field, 15 minutes (QUICK=1; ONLY="decisions views")
	@command -v wrk >/dev/null || echo "wrk is missing, and with it the requests through gunicorn: apt-get install wrk" >&2
	QUICK="$(QUICK)" ONLY="$(ONLY)" $(BIN)/python -m tests.benchmarks

screenshots: .venv/.test ## Take the pictures of the documentation anew, with Chromium
	SCREENSHOTS=1 $(BIN)/python -m pytest tests/browser

lint: .venv/.lint ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

matrix: .venv/.matrix ## Test the wheel on every Python and Django (ARGS="-p 3.12")
	$(BIN)/nox $(ARGS)

clean: ## Remove .venv and whatever was built
	rm -rf .venv .nox .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp .venv/.NAME says that the extra NAME is installed.
.venv/.%: .venv/.created setup.cfg pyproject.toml
	@echo "Installing into .venv what 'make $*' needs"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

.venv/.created:
	@for python in $(PYTHON); do \
	    if $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Making .venv with $$($$python -V)"; \
	        $$python -m venv --clear .venv && touch $@; \
	        exit; \
	    fi; \
	done; \
	echo "Python 3.11 or newer with its venv module is needed, and none of these is: $(PYTHON)" >&2; \
	exit 1
