# Two commands do all: `make demo` runs the main job, `make test` passes the tests. Both set up what they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SETUP := .venv/.setup

.PHONY: setup demo strangle test lint types layers coverage floors pythons docs benchmark lock clean
setup: $(SETUP)

# Envoy's messages bring an old copy of OpenTelemetry's into the same folder, and which is there is chance: so these come last.
AGAIN := requirements/again.txt
$(SETUP): requirements/dev.txt $(AGAIN) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skerry needs Python 3.11 or later")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --force-reinstall -r $(AGAIN)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(SETUP)

demo: setup
	@$(BIN)/skerry demo $(if $(DATABASE),--database $(DATABASE)) $(if $(BROKER),--broker $(BROKER)) $(if $(ANALYTICS),--analytics $(ANALYTICS)) $(if $(ENGINE),--engine $(ENGINE)) $(if $(filter-out 0,$(MESH)),--mesh) $(ARGS)

# The story of a monolith that loses two capabilities; see examples/strangler/README.md for the FAULTs.
strangle: setup
	@cd examples/strangler && ../../$(BIN)/python -m story $(if $(ENGINE),--engine $(ENGINE)) $(if $(FAULT),--fault $(FAULT)) $(ARGS)

# Two files at a time, for most tests wait, those with tests of minutes first: else one is left alone with them. In CI what counts for coverage has run before, and what fails with others beside it,
# three tests at most, is run once more alone: two shared cores fail one of thousands by chance. It is named, and is to be mended.
TOGETHER := -n 2 --dist loadfile --no-loadscope-reorder
LONG := tests/crash tests/upgrade
FAILED := .cache/pytest/v/cache/lastfailed
test: setup $(if $(filter true,$(CI)),$(if $(ARGS),,coverage))
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else ifeq ($(CI),true)
	@rm -f $(FAILED)
	@$(BIN)/python -m pytest $(TOGETHER) $(UNCOUNTED) || { \
	  test -f $(FAILED) && test $$(grep -c '": true' $(FAILED)) -le 3 && echo "FLAKY, unless they fail alone too:" && \
	  grep '": true' $(FAILED) && $(BIN)/python -m pytest --last-failed $(UNCOUNTED); }
else
	@$(BIN)/python -m pytest $(TOGETHER) $(LONG) tests docs $(wildcard *.md)
endif

lint: setup
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check --quiet .

types: setup
	@$(BIN)/mypy
	@$(BIN)/mypy tests/typing
	@PYTHONPATH=src $(BIN)/pyright --verifytypes skerry --ignoreexternal --pythonpath $(BIN)/python

layers: setup
	@PYTHONPATH=examples/shop:examples/monolith:examples/strangler $(BIN)/lint-imports

# Branch coverage of what everything else stands on, by the unit tests and, for what speaks to servers, the contracts.
COUNTED := tests/unit tests/contract
UNCOUNTED := $(LONG) tests/unit/testing $(filter-out $(COUNTED) $(LONG) tests/servers tests/typing,$(wildcard tests/*)) docs $(wildcard *.md)
COVERED := clock errors context signals topology resilience store events saga
coverage: setup
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m pytest -q tests/unit --ignore tests/unit/testing & unit=$$!; \
	  $(BIN)/python -m coverage run -m pytest -q tests/contract; contract=$$?; wait $$unit && exit $$contract
	@$(BIN)/python -m coverage combine -q
	@$(BIN)/python -m coverage report --skip-covered --fail-under=90 \
	  --include="$(foreach part,$(COVERED),src/skerry/$(part).py,src/skerry/$(part)/*,)"

# The checker searches for two minutes; what it searches through runs on every version in the other tests of sagas.
NO_SEARCH := --ignore tests/unit/testing/test_check_saga.py --ignore tests/unit/saga/test_saga_crash_points.py
# The unit tests on the oldest dependencies that pyproject.toml allows.
floors: setup
	@$(PYTHON) -m venv --clear .venv/floors
	@.venv/floors/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lowest.txt
	@.venv/floors/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@.venv/floors/bin/python -m pytest -q tests/unit $(NO_SEARCH)

# The unit tests on every other supported Python that this machine has.
VERSIONS := 3.12 3.13
pythons: setup
	@for version in $(VERSIONS); do \
	  python=$$(ls -d $$HOME/.pyenv/versions/$$version.*/bin/python 2>/dev/null | tail -1); \
	  python=$${python:-$$(command -v python$$version || true)}; \
	  if [ -z "$$python" ] || ! $$python -c '' 2>/dev/null; then echo "NOT RUN: Python $$version is not on this machine"; continue; fi; \
	  $$python -m venv --clear .venv/python$$version && \
	  .venv/python$$version/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt && \
	  .venv/python$$version/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --force-reinstall -r $(AGAIN) && \
	  .venv/python$$version/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
	  .venv/python$$version/bin/python -m pytest -q tests/unit $(NO_SEARCH) || exit 1; \
	done

docs: setup
	@$(BIN)/zensical build --clean --strict

# One benchmark beside its peers, such as `make benchmark NAME=events`. Never part of the tests.
NAME ?= events
benchmark: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/benchmarks.txt
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate -p 3.11
lock:
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(LOCK) --extra all --group dev pyproject.toml -o requirements/dev.txt
	$(LOCK) --extra all --group dev --group peers pyproject.toml -o requirements/benchmarks.txt
	$(LOCK) --extra all --group test --resolution lowest-direct pyproject.toml -o requirements/lowest.txt
	sed -n '/^opentelemetry-proto==/,/[^\\]$$/p' requirements/dev.txt > $(AGAIN)

clean:
	rm -rf .venv .cache dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
