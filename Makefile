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

.PHONY: test
test: tools ## Units and integration on both databases, Redis and S3; installs what it needs
	$(services)/count.sh $(services)/with-services.sh $(MAKE) --no-print-directory test-all

.PHONY: test-all
test-all:
	cargo fmt --all -- --check
	cargo build -p publaryn
	cargo test --workspace --no-fail-fast --exclude publaryn-api
	cargo test -p publaryn-api --lib --test integration_tests --test v1_identity --no-fail-fast

.PHONY: test-clients
test-clients: tools ## Real clients (npm, pnpm, yarn, bun, cargo) and kill -9, on both back ends; not all pass yet, see CHANGELOG
	$(services)/npm-clients.sh
	cargo build -p publaryn
	$(services)/count.sh $(services)/with-services.sh cargo test -p publaryn-api --test clients --no-fail-fast -- --test-threads=4

.PHONY: test-fast
test-fast: tools ## Units and the embedded integration tests: minutes, no services, no foreign clients
	$(services)/count.sh cargo test --workspace --exclude publaryn-benches --lib --bins --test integration_tests --test auth_tests --no-fail-fast

.PHONY: lint
lint: tools ## Formatting and clippy, as the release contract asks
	cargo fmt --all -- --check
	cargo clippy --all-targets --all-features -- -D warnings

.PHONY: fuzz
fuzz: ## Fuzz the parsers of foreign bytes (needs cargo-fuzz and a nightly toolchain)
	cd actors/scan/fuzz && for target in walk_targz walk_tar walk_zip; do \
		cargo +nightly fuzz run $$target -- -max_total_time=$${SECONDS_PER_TARGET:-60} || exit 1; done
