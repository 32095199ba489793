# Every job of the CI is a target here. Plain `make` prints this help.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Simulated histories of one `make simulate`, each from a seed of its own.
SEEDS ?= 5000
# One history again, by its seed.
SEED ?=

# The world runs millions of steps, so it is built with --release; all other tests use the dev
# profile, whose dependencies are optimised a little, because it builds faster.
WORLD := cargo run --release -p wardlink-tests --bin wardlink-world --

# Without wardlink-tests: built together with it, the programs would contain the defects that the
# simulated world plants.
PROGRAMS := -p wardlink-ms -p wardlink-bs -p wardlink -p wardlink-operator

# The files whose first line says that a shell runs them.
SHELL_SCRIPTS = find . \( -name target -o -name .git \) -prune -o -type f -exec \
	awk 'FNR == 1 && /^(\#!.*[ \/](ba)?sh$$|\# shellcheck shell=)/ { print FILENAME } { nextfile }' {} +

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: toolchain ## One MS and two BSs on this machine, until Ctrl-C
	cargo run --release -p wardlink -- dev

.PHONY: demo
demo: toolchain ## Real processes, killed and restarted while messages flow
	cargo build --release $(PROGRAMS)
	database=$$(scripts/install-database) && \
	WARDLINK_TEST_DATABASE=$$database cargo run --release -p wardlink-tests --bin wardlink-demo

.PHONY: test
test: toolchain ## All tests, the fast ones first (SEEDS=n for more simulation)
	SEEDS=$(SEEDS) scripts/test

.PHONY: test-operator
test-operator: toolchain ## The operator on a Kubernetes API server of this machine's own
	tests/cluster/run operator

.PHONY: test-cluster
test-cluster: toolchain ## Pods on nodes of this machine's own (root), or of KUBECONFIG's cluster
	tests/cluster/run nodes

.PHONY: images
images: toolchain ## An image of each server and of the operator as an OCI archive, in target/images
	images/build

.PHONY: lint
lint: toolchain ## Formatting, clippy, licences and sources, unused dependencies, shell scripts, units
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	tools=$$(scripts/install-tools cargo-deny cargo-machete shellcheck) && \
	export PATH="$$tools:$$PATH" && \
	cargo deny --log-level error check licenses bans sources && \
	cargo machete && \
	$(SHELL_SCRIPTS) | xargs shellcheck --external-sources
	scripts/check-units
# `cargo deny check advisories` is left out: it fetches its database from the Internet.

.PHONY: fmt
fmt: toolchain ## Formats the Rust code
	cargo fmt --all

.PHONY: simulate
simulate: toolchain ## The simulated world: SEEDS=n histories, or the one of SEED=s
	$(WORLD) simulate $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

.PHONY: mutants
mutants: toolchain ## Plants each known defect and checks that the simulated world finds it
	$(WORLD) mutants

.PHONY: fuzz
fuzz: toolchain ## Fuzzes every decoder (SECONDS_EACH=60); needs a nightly toolchain
	scripts/fuzz

.PHONY: generate
generate: toolchain ## Writes the generated files anew
# The tests that compare generated files have `generated` in their names and write the files when
# this variable is set.
	WARDLINK_GENERATE=1 cargo test --workspace generated

.PHONY: tools
tools: toolchain ## Installs what lint and test need, into a cache outside this folder
	scripts/install-tools >/dev/null
	scripts/install-database >/dev/null

.PHONY: clean
clean: ## Removes what was built here; the tools' cache stays
	cargo clean

# Says what is missing before Cargo would, in words that help.
.PHONY: toolchain
toolchain:
	@scripts/check-toolchain
