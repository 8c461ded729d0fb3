# make demo       set-up, then a prompt becomes out/demo.mp4 and the bill is printed
# make test       set-up, a real PostgreSQL included, then every test
# make check      formatting, lint, types, import law, house rules
# make bench      the figures of docs/performance.md, measured here
# make reference  docs/reference/ again, from the code
# make setup      .venv with everything that tests and checks need
# make lock       the locks again, from pyproject.toml (needs uv)
# make clean      back to a fresh checkout

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench reference lock clean
.DELETE_ON_ERROR:

BIN := .venv/bin
RUN := .venv/.ready-run
DEV := .venv/.ready-dev
TYPED := src tests scripts $(wildcard bench)

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(DEV)

# What the program needs: enough for the demo, and quick.
$(RUN): pyproject.toml requirements.lock scripts/setup
	@scripts/setup run

# What the tests and checks need as well.
$(DEV): pyproject.toml requirements-dev.lock scripts/setup $(wildcard tests/compat/*.lock) \
		tests/compat/node/package-lock.json
	@scripts/setup dev

# The sandbox renders it, whatever upstream the environment names: a demo spends nobody's money.
demo: $(RUN)
	@rm -rf out/demo-data out/demo.mp4
	@mkdir -p out
	@env -u REELGATE_URL -u REELGATE_API_KEY -u XAI_API_KEY REELGATE_DATA_DIR=out/demo-data \
		$(BIN)/reelgate generate "A paper boat crossing a moonlit harbour" \
		--seconds 4 --size 720p -o out/demo.mp4

test: $(DEV)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tidy.py

bench: $(DEV)
	$(BIN)/python -m bench $(ARGS)

reference: $(DEV)
	$(BIN)/python -m scripts.reference

UV := $(or $(shell command -v uv),$(wildcard $(BIN)/uv))
COMPILE := pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-annotate --no-header $(ARGS)
LOCK := $(COMPILE) pyproject.toml --group build
# Clients under test, each pinned exactly. LiteLLM asks for a certifi that not every index has yet.
CLIENT_LOCK := $(COMPILE) --override tests/compat/overrides.txt

# `make lock` keeps what is locked; `make lock ARGS=--upgrade` takes the newest of everything.
# The locks hold versions and hashes and no address: any index will do, with pip and with uv.
lock:
	@test -n "$(UV)" || { echo "make lock needs uv" >&2; exit 1; }
	$(UV) $(LOCK) -o requirements.lock
	$(UV) $(LOCK) --group dev -c requirements.lock -o requirements-dev.lock
	$(UV) $(CLIENT_LOCK) tests/compat/openai-2.3.in -o tests/compat/openai-2.3.lock
	$(UV) $(CLIENT_LOCK) tests/compat/litellm.in -o tests/compat/litellm.lock

clean:
	rm -rf .venv out build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
