# What one can do with a clone; `make` alone lists it. Only Python 3.11 or newer is needed, Node and Chromium for the page.

PYTHON ?= python3
ARGS ?=
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
CHROMIUM ?= $(firstword $(foreach name,chromium chromium-browser google-chrome google-chrome-stable,$(shell command -v $(name))))
BUILT := gateway/http/graphiql/built/index.html

# What keeps a part of the tests from running here; empty when nothing does. Vite 8 sets the Node version.
NODE_LACKS = $(shell node -e 'const [a, b] = process.versions.node.split(".").map(Number); \
	process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null \
	|| echo "Node 20.19 or newer with npm")
CHROMIUM_LACKS = $(if $(CHROMIUM),,Chromium)
# What the compiler of Apollo Kotlin lacks here: the same as a real Elasticsearch.
KOTLIN_LACKS = $(shell $(PYTHON) tools/elasticsearch/run.py lacks)
# What the real Elasticsearch of the tests lacks here; nothing when ELASTICSEARCH_TEST_URL names one that runs.
SERVER_LACKS = $(if $(ELASTICSEARCH_TEST_URL),,$(KOTLIN_LACKS))
# What the health checks of docker-compose.yml are written with.
PROGRAMS_LACK = $(strip $(foreach name,curl redis-cli,$(if $(shell command -v $(name)),,$(name))))
PROMTOOL_LACKS = $(if $(shell command -v promtool),,promtool)
LACKS = $(NODE_LACKS)$(if $(and $(NODE_LACKS),$(CHROMIUM_LACKS)), and )$(CHROMIUM_LACKS)

.DEFAULT_GOAL := help
.PHONY: help
help: ## list what there is to do
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12 names the interpreter, ARGS='--help' goes to the command behind demo, serve and bench."

# ---- Run it ---------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: install page-if-possible ## build the demo market, train, and serve it at http://127.0.0.1:8000/graphql
	$(BIN)/tandem demo $(ARGS)

.PHONY: serve
serve: install ## serve what is in the data directory
	$(BIN)/tandem serve $(ARGS)

.PHONY: install
install: ## make .venv and install the hashed lock and the project into it
	@$(call install,requirements.lock,requirements-dev.lock)

.PHONY: install-dev
install-dev: ## the same with the tools for development
	@$(call install,requirements-dev.lock,requirements-dev.lock)

# $(1): the lock to install; $(2): a lock that holds all of it, so that having that one will do.
# What was installed is remembered beside it as a copy, not by time stamps, which a checkout changes.
define install
	set -e; \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		command -v $(PYTHON) >/dev/null || { echo "Tandem needs Python 3.11 or newer, and there is no '$(PYTHON)' here. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
			|| { echo "Tandem needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
		echo "Making $(VENV) with $$($(PYTHON) --version)."; \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	fi; \
	if cat $(1) pyproject.toml | cmp -s - $(VENV)/installed-$(1) || cat $(2) pyproject.toml | cmp -s - $(VENV)/installed-$(2); then \
		echo "$(VENV) already holds what $(1) lists."; \
	else \
		echo "Installing what $(1) lists, each file checked against its hash."; \
		rm -f $(VENV)/installed-*; \
		$(BIN)/python -m pip install --disable-pip-version-check --no-input --only-binary :all: --require-hashes -r $(1); \
		$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-build-isolation -e .; \
		[ $(1) != requirements-dev.lock ] || $(BIN)/python -c 'import implicit.cpu.als' \
			|| { echo "A library of the tests does not load here. If it is libgomp, the OpenMP run time of the C compiler: apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora)." >&2; exit 1; }; \
		cat $(1) pyproject.toml > $(VENV)/installed-$(1); \
	fi
endef

# ---- Test it --------------------------------------------------------------------------------------------------------

SIZE ?= 2000
.PHONY: fuzz
fuzz: install-dev ## made-up operations, requests and bytes, SIZE=2000 of them, from a SEED that is printed
	$(BIN)/python tools/fuzz/run.py --size $(SIZE) $(if $(SEED),--seed $(SEED))

.PHONY: chaos
chaos: install-dev ## make servers, processes and clients fail under load, and say what was seen (ARGS='8 12', --fast)
	$(BIN)/python -m benchmarks.chaos $(ARGS)

.PHONY: test
test: check-parts install-dev lint types contracts schema unit $(if $(NODE_LACKS),,wheel clients) $(if $(LACKS),,browser) ## run every test there is, and say at the end what could not be run here
	@echo
	@if [ -z "$(LACKS)$(KOTLIN_LACKS)$(PROGRAMS_LACK)$(PROMTOOL_LACKS)" ]; then \
		echo "Every test there is was run."; \
	fi; \
	if [ -n "$(PROGRAMS_LACK)" ]; then \
		echo "NOT RUN, for want of $(PROGRAMS_LACK): tests of the health checks in docker-compose.yml. To run them: install it (Debian: apt-get install curl redis-tools); then 'make unit'."; \
	fi; \
	if [ -n "$(PROMTOOL_LACKS)" ]; then \
		echo "NOT RUN, for want of $(PROMTOOL_LACKS): tests of when each alert fires. To run them: install it (Debian: apt-get install prometheus); then 'make unit'."; \
	fi; \
	if [ -n "$(LACKS)" ]; then \
		echo "NOT RUN, for want of $(LACKS): $(if $(NODE_LACKS),the bundling of the GraphiQL page, the tests of the clients, and )the test of the page in a browser."; \
		echo "To run it: install $(LACKS) (Debian: apt-get install chromium nodejs npm), or run .ci/run on Debian as root; then 'make wheel clients browser'."; \
	fi; \
	if [ -n "$(KOTLIN_LACKS)" ]; then \
		echo "NOT RUN, for want of $(KOTLIN_LACKS): the code generation of Apollo Kotlin. To run it: install it; then 'make clients'."; \
	fi; \
	if [ -n "$(SERVER_LACKS)" ]; then \
		echo "NOT RUN, for want of $(SERVER_LACKS): every test on a real Elasticsearch. To run them: install it (Debian 13: apt-get install openjdk-21-jdk-headless maven) or name a running one by ELASTICSEARCH_TEST_URL=elasticsearch://host:port; then 'make unit'."; \
	fi

# In CI a part that can't run is a failure, and at once.
.PHONY: check-parts
check-parts:
	@if [ "$$CI" = true ] && [ -n "$(LACKS)$(KOTLIN_LACKS)" ]; then \
		echo "make test: CI must run everything, and $(LACKS)$(if $(LACKS),$(if $(KOTLIN_LACKS), and ))$(KOTLIN_LACKS) is missing." >&2; exit 1; \
	fi

.PHONY: lint
lint: install-dev ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: install-dev ## mypy --strict
	$(BIN)/mypy

.PHONY: contracts
contracts: install-dev ## import-linter: who may import what
	$(BIN)/lint-imports

.PHONY: schema
schema: install-dev ## schema.graphql is what the code prints, and breaks nobody who was promised the contract
	$(BIN)/tandem schema --check schema.graphql
	$(BIN)/tandem schema --against tests/gateway/contract.graphql

.PHONY: unit
unit: install-dev ## every test that needs nothing but Python, the examples of the docs among them
	$(BIN)/pytest -n $(JOBS) -r s --ignore=tests/browser --ignore=tests/clients $(ARGS)

.PHONY: browser
browser: install-dev graphiql tests/browser/node_modules/.package-lock.json ## GraphiQL in a real Chromium (needs Node and Chromium)
	CHROMIUM=$(CHROMIUM) $(BIN)/pytest tests/browser

.PHONY: clients
clients: install-dev tests/clients/node_modules/.package-lock.json tests/clients/python/.venv/installed.lock ## Apollo, urql, Relay and others against a running gateway (needs Node)
	$(BIN)/pytest -r s tests/clients

.PHONY: bench
bench: install-dev ## measure everything, or the parts that ARGS names: ARGS='load --quick' (docs/performance.md)
	$(BIN)/python -m benchmarks $(ARGS)

# The generator of the client for Python pins tools that the project has newer.
tests/clients/python/.venv/installed.lock: tests/clients/python/requirements.lock
	$(BIN)/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --only-binary :all: --require-hashes -r $<
	@cp $< $@

.PHONY: format
format: install-dev ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# ---- Build it -------------------------------------------------------------------------------------------------------

.PHONY: graphiql
graphiql: $(BUILT) ## bundle the GraphiQL page (needs Node)

$(BUILT): graphiql/node_modules/.package-lock.json graphiql/index.html graphiql/vite.config.js $(wildcard graphiql/src/*)
	cd graphiql && npm run --silent build

%/node_modules/.package-lock.json: %/package-lock.json %/package.json
	cd $* && npm ci --no-audit --no-fund
	@touch $@

# The demo does not depend on it: without Node, or without a registry, the page comes from a CDN and says so.
.PHONY: page-if-possible
page-if-possible:
	@if [ -f $(BUILT) ]; then true; \
	elif [ -n "$(NODE_LACKS)" ]; then \
		echo "GraphiQL will come from a CDN, pinned and hash-checked: there is no $(NODE_LACKS) to bundle it with."; \
	else \
		echo "Bundling GraphiQL with Node."; \
		$(MAKE) --no-print-directory graphiql || echo "GraphiQL will come from a CDN, pinned and hash-checked: it could not be bundled here."; \
	fi

.PHONY: wheel
wheel: install-dev graphiql ## the wheel in dist/, with the GraphiQL page inside
	$(BIN)/hatchling build -t wheel -d dist

.PHONY: lock
lock: install-dev ## compute the hashed locks anew from pyproject.toml (ARGS=--upgrade takes newer versions)
	$(call compile) $(ARGS) -o requirements.lock
	$(call compile) $(ARGS) --extra dev -c requirements.lock -o requirements-dev.lock
	$(call compile) $(ARGS) --extra production --extra tracing -c requirements.lock -c requirements-dev.lock -o requirements-production.lock
	$(call compile-of,tests/clients/python/requirements.in) $(ARGS) -o tests/clients/python/requirements.lock

# One lock for every platform and every Python from 3.11 on; it names no index and no address.
define compile-of
	$(BIN)/uv pip compile $(1) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --quiet
endef
compile = $(call compile-of,pyproject.toml) --group build

.PHONY: clean
clean: ## remove what was built; .venv and data/ stay
	rm -rf build dist gateway/http/graphiql/built graphiql/node_modules tests/browser/node_modules tests/clients/node_modules tests/clients/python/.venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
