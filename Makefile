# `make help` lists the tasks. `make run` and `make test` are the only set-up there is.
.DEFAULT_GOAL := help
SHELL := bash
services := benches/services

.PHONY: help
help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: tools
tools:
	@bash $(services)/tools.sh

.PHONY: run
run: tools ## Build and start the server on the embedded default (SQLite, local disk)
	cargo run --release -p publaryn -- serve

# One selection of crates for every cargo call: another one would build the dependencies again.
.PHONY: test
test: tools clients ## Everything: units, both databases, Redis, S3, real clients, faults; installs what it needs
	$(services)/count.sh $(services)/with-services.sh $(MAKE) --no-print-directory test-all

.PHONY: test-all
test-all:
	cargo fmt --all -- --check
	cargo test --workspace --no-fail-fast -- --test-threads=4

.PHONY: test-fast
test-fast: tools ## Units and the embedded integration tests: minutes, no services, no foreign clients
	$(services)/count.sh cargo test --workspace --lib --bins --test integration_tests --test auth_tests --no-fail-fast

.PHONY: clients
clients: tools
	@for script in $(services)/*-clients.sh; do bash $$script >/dev/null || exit 1; done

.PHONY: test-clients
test-clients: clients ## Real clients and faults on both back ends; one alone: make test-clients ONLY=npm
	cargo test --workspace --test server --test clients --no-run
	$(services)/count.sh $(services)/with-services.sh \
	  cargo test --workspace --test clients --no-fail-fast -- --test-threads=4 $(ONLY)

.PHONY: chaos
chaos: ## Killed processes, lost databases, failing stores
	$(MAKE) --no-print-directory test-clients ONLY=faults::

.PHONY: lint
lint: tools ## Formatting and clippy, as the release contract asks
	cargo fmt --all -- --check
	cargo clippy --all-targets --all-features -- -D warnings

.PHONY: fuzz
fuzz: ## Fuzz the parsers of foreign bytes (needs cargo-fuzz and a nightly toolchain)
	for crate in actors/scan protocols/cargo; do \
	  for target in $$(cd $$crate && cargo +nightly fuzz list); do \
	    (cd $$crate && cargo +nightly fuzz run $$target -- -max_total_time=$${SECONDS_PER_TARGET:-60}) || exit 1; \
	  done; \
	done

.PHONY: bench
bench: tools ## Measure beside nginx and verdaccio, on both back ends (docs/benchmarks.md)
	$(services)/bench.sh

.PHONY: bench-reads bench-downloads bench-publish bench-start bench-jobs bench-indexes bench-images bench-lists
bench-reads bench-downloads bench-publish bench-start bench-jobs bench-indexes bench-images bench-lists: bench-%: tools
	$(services)/bench.sh $*
