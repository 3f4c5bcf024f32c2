# The front door. `make demo` and `make test` are enough on a fresh machine with Python 3.10+.
PYTHON ?= python3
BUILD  := .build
VENV   := $(BUILD)/venv
BIN    := $(VENV)/bin
UV     := $(BUILD)/uv/bin/uv
STAMP  := $(VENV)/.installed
ORACLE := $(BUILD)/jaeger-client/.tried
LIBRARIES := $(BUILD)/libraries/.tried
TOOLS  := $(BUILD)/tools/.tried
SPY    := $(BUILD)/spy/.tried
SITE   := $(BUILD)/site/.installed

.DEFAULT_GOAL := help
.PHONY: leak bench-services pictures bench-page test-manifests docs-site test-peers first-trace interop fuzz fuzz-grpc fuzz-frames fuzz-receivers bench-view asan soak fire help demo test test-all test-oldest test-libraries lint format types bench-otlp bench-grpc soak-grpc bench-reliability bench profile docs clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

# uv lives in an environment of its own: an old pip's resolver needs minutes for OpenTelemetry.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "tracekit needs Python 3.10 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(BUILD)/uv
	$(BUILD)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv

$(STAMP): pyproject.toml hatch_build.py tracekit/encoding/_frames.c | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	@-VIRTUAL_ENV=$(VENV) $(UV) pip uninstall --quiet tracekit 2>/dev/null # its name until 0.1
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet -e . --group test --group lint --group types --prerelease=allow
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --group servers 2>/dev/null \
	  || echo "uWSGI cannot be built here (no C compiler?): its tests are skipped"
	@touch $@

demo: $(UV) ## Build the wheel, install it in an environment of its own, show its traces
	rm -rf $(BUILD)/demo $(BUILD)/dist
	$(UV) build --quiet --wheel --python $(PYTHON) --out-dir $(BUILD)/dist
	$(UV) venv --quiet --python $(PYTHON) $(BUILD)/demo
	wheel=$$(ls $(BUILD)/dist/*.whl) && VIRTUAL_ENV=$(BUILD)/demo $(UV) pip install --quiet "$$wheel[demo]"
	demo=$(CURDIR)/$(BUILD)/demo/bin/tracekit && cd "$$(mktemp -d)" && "$$demo" demo $$([ -t 1 ] && echo --open)

# What tracekit.jaeger_client and tracekit.flask are compared with, in an environment of its own and
# on an interpreter that it was made for, if there is one. If not, the tests look further, or say so.
$(ORACLE): Makefile | $(UV)
	-for python in 3.9 3.8 $(wildcard $(HOME)/.pyenv/versions/3.[98].*/bin/python); do \
	  $(UV) venv --quiet --allow-existing --no-python-downloads --python $$python $(@D) 2>/dev/null \
	    && VIRTUAL_ENV=$(@D) $(UV) pip install --quiet jaeger-client six 2>/dev/null && break; \
	done
	-VIRTUAL_ENV=$(@D) $(UV) pip install --quiet Flask-OpenTracing 2>/dev/null
	@mkdir -p $(@D) && touch $@

# The libraries that programs trace with, beside jaeger_client in its environment and beside tracekit.
$(LIBRARIES): $(wildcard tests/libraries/*.txt) pyproject.toml $(ORACLE) | $(UV)
	-VIRTUAL_ENV=$(dir $(ORACLE)) $(UV) pip install --quiet -r tests/libraries/clients-old.txt \
	  && VIRTUAL_ENV=$(dir $(ORACLE)) $(UV) pip install --quiet --no-deps -r tests/libraries/retired.txt
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(@D)
	VIRTUAL_ENV=$(@D) $(UV) pip install --quiet --prerelease=allow -e '.[all]' -r tests/libraries/clients-new.txt
	VIRTUAL_ENV=$(@D) $(UV) pip install --quiet --no-deps -r tests/libraries/retired.txt
	@touch $@

test-libraries: $(STAMP) $(LIBRARIES) ## A program for each library that people trace with, old and new
	$(BIN)/pytest -q tests/libraries

# Tools in an environment of their own: the second type checker, with the Node.js that it runs on,
# and what looks at distributions. Where they cannot be had, their tests are skipped.
$(TOOLS): Makefile | $(UV)
	-$(UV) venv --quiet --allow-existing --python $(PYTHON) $(@D) \
	  && VIRTUAL_ENV=$(@D) $(UV) pip install --quiet 'pyright[nodejs]' twine 2>/dev/null
	@mkdir -p $(@D) && touch $@

test: $(STAMP) $(ORACLE) $(TOOLS) ## The whole suite
	$(BIN)/pytest -n 2 --dist loadfile

test-all: $(UV) ## The suite on every supported interpreter that is found
	./.ci/test-all $(UV) $(BUILD)

test-oldest: $(UV) ## The suite on the oldest dependencies that pyproject.toml admits
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(BUILD)/oldest
	VIRTUAL_ENV=$(BUILD)/oldest $(UV) pip install --quiet -e . --group test --group oldest --prerelease=allow
	$(BUILD)/oldest/bin/pytest -n 2 --dist loadfile

test-peers: $(UV) ## Beside other people's packages, in environments of their own; GROUPS=… for some
	./.ci/test-peers $(UV) $(BUILD) $(GROUPS)

# The site's builder and the schemas of Kubernetes (108 MB), in an environment of their own.
$(SITE): pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(@D)
	VIRTUAL_ENV=$(@D) $(UV) pip install --quiet --group site
	@touch $@

test-manifests: $(STAMP) $(SITE) ## The manifests of docs/kubernetes: schemas, types, variables, sums; runs what they start
	PYTHONPATH=tests/support $(BIN)/python tests/kubernetes/programs.py $(BUILD)/manifests
	$(BIN)/pytest -q tests/kubernetes

# What looks for barriers on the page: an npm package in a place of its own.
AXE := $(BUILD)/axe/node_modules/axe-core/axe.min.js
$(AXE):
	-npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(BUILD)/axe axe-core@4

test-browser: $(STAMP) $(AXE) ## The page of tracekit view in a real Chromium (Debian: chromium, chromium-driver)
	$(BIN)/pytest -q tests/local/test_page.py tests/view/test_page_in_browser.py

pictures: $(STAMP) ## The docs' pictures of the page, taken of the demo in a real Chromium
	$(BIN)/python tests/view/pictures.py

bench-page: $(STAMP) ## How fast the page draws, scrolls and searches in a real Chromium
	$(BIN)/python tests/bench/bench_page.py

bench-services: ## What tracing adds under FastAPI, Django, httpx, aiohttp; after `make test-peers`
	$(BUILD)/peers/asgi/bin/python tests/peers/asgi/bench_services.py
	$(BUILD)/peers/clients/bin/python tests/peers/clients/bench_clients.py

interop: $(STAMP) ## Against the real Jaeger, its Go client, Envoy and Prometheus; prints who understood whom
	PYTHONPATH=tests/interop $(BIN)/pytest -q -p peers --timeout 1000 tests/interop

first-trace: $(UV) ## A fresh clone, an empty environment, README and tutorial as written: how long
	./.ci/first-trace $(UV)

fuzz: $(STAMP) ## Ten million odd headers through every decoder, at low priority
	nice -n 19 $(BIN)/python tests/fuzz/fuzz_headers.py --inputs 10000000

fuzz-frames: $(STAMP) ## Random facts through native and Python frames: equal bytes, no growth
	nice -n 19 $(BIN)/python tests/fuzz/fuzz_frames.py --inputs $(or $(INPUTS),1000000)

asan: $(STAMP) ## The native frames under AddressSanitizer and UBSan: tests and a short fuzz
	./.ci/asan $(BIN)/python $(BUILD)/asan

fuzz-receivers: $(STAMP) ## A million damaged messages for every receiver of tracekit view
	nice -n 19 $(BIN)/python tests/fuzz/fuzz_receivers.py

bench-view: $(STAMP) ## What tracekit view takes, and what it costs to run
	$(BIN)/python tests/bench/bench_view.py

fuzz-grpc: $(STAMP) ## Random gRPC programs bare and traced, for an hour at low priority (SECONDS=…)
	nice -n 19 $(BIN)/python tests/fuzz/fuzz_grpc.py --programs 1000000 --seconds $(or $(SECONDS),3600)

lint: $(STAMP) ## ruff: every rule, each exception argued in pyproject.toml; codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell README.md docs examples tracekit

format: $(STAMP) ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

bench-otlp: $(STAMP) ## OTLP beside OpenTelemetry's encoder and exporter
	$(BIN)/python tests/bench/bench_otlp.py

bench-grpc: $(STAMP) ## What tracing adds to a gRPC call, beside OpenTelemetry's instrumentation
	$(BIN)/python tests/bench/bench_grpc.py

soak-grpc: $(STAMP) ## 64 clients for a minute on each flavour of gRPC: nothing may be left behind
	SOAK_S=60 $(BIN)/pytest -q --timeout 200 tests/grpc/test_soak.py

bench-reliability: $(STAMP) ## What arrives under load and faults, beside jaeger-client
	$(BIN)/python tests/bench/bench_reliability.py
	$(BIN)/python tests/bench/bench_lifecycle.py

soak: $(STAMP) ## Each call fails with each errno, then ten minutes while the agent comes and goes
	nice -n 10 $(BIN)/python tests/soak/injected.py
	nice -n 10 $(BIN)/python tests/soak/soak.py

# ENCODED=… TRACED=… for other numbers than 10,000,000 in each format and 1,000,000 on each wire.
leak: $(STAMP) ## Ten million spans through the native frames, a million on each wire: nothing grows
	nice -n 19 $(BIN)/python tests/soak/leak.py --encoded $(or $(ENCODED),10000000) --traced $(or $(TRACED),1000000)

# What tells where a process stands still, if it can be had: it is not needed otherwise.
$(SPY): | $(UV)
	-$(UV) venv --quiet --allow-existing --python $(PYTHON) $(@D) \
	  && VIRTUAL_ENV=$(@D) $(UV) pip install --quiet py-spy
	@mkdir -p $(@D) && touch $@

fire: $(STAMP) $(SPY) ## MINUTES=60 of forks, signals, interrupts and hostile receivers at random
	nice -n 10 $(BIN)/python tests/soak/fire.py --minutes $(or $(MINUTES),60) --seed $(or $(SEED),1)

# PROCESSES=… for another number than 10,000.
.PHONY: fleet
fleet: $(STAMP) ## Simulated processes whose agents restart: the figures of the page on sizing
	$(BIN)/python tests/soak/fleet.py --processes $(or $(PROCESSES),10000) --svg docs/reference/fleet.svg

# To read it, with search: python3 -m http.server --bind 127.0.0.1 --directory .build/site/html
docs-site: $(SITE) ## The pages as a site in .build/site/html; a warning or a broken link is an error
	version=$$(.build/site/bin/python docs/_versions.py) \
	  && NO_MKDOCS_2_WARNING=1 .build/site/bin/mkdocs build --quiet --strict --site-dir $(BUILD)/site/html/$$version \
	  && .build/site/bin/python docs/_check_site.py $(BUILD)/site/html/$$version
	.build/site/bin/python docs/_versions.py $(BUILD)/site/html

COMPARE = $(BIN)/python tests/bench/compare --uv $(UV) --python $(BIN)/python \
  $(if $(CELL),--cell $(CELL)) $(if $(PEER),--peer $(PEER))

bench: $(STAMP) ## tracekit beside its peers; CELL=… PEER=… for some of it, goes on where it stopped
	$(COMPARE) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(PAGE),--page $(PAGE))

profile: $(STAMP) ## Flame graphs of CELL=… (PEER=…) under .build/bench/profiles
	$(COMPARE) --profile

docs: $(STAMP) ## Print the reference pages from the tables
	$(BIN)/python -m docs

clean: ## Remove what the targets above made
	rm -rf $(BUILD) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
