# Two commands do all: `make demo` runs the main job, `make test` passes the tests. Both set up what they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SETUP := .venv/.setup

.PHONY: setup demo test lint types layers lock clean
setup: $(SETUP)

$(SETUP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skerry needs Python 3.11 or later")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(SETUP)

demo: setup
	@$(BIN)/skerry demo $(ARGS)

test: setup
	@$(BIN)/python -m pytest $(ARGS)

lint: setup
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check --quiet .

types: setup
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file pyproject.toml tests/typing

layers: setup
	@$(BIN)/lint-imports

lock:
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --extra all --group dev -p 3.11 pyproject.toml -o requirements/dev.txt

clean:
	rm -rf .venv dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
