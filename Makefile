# Two commands for users: `make demo` and `make test`. Both install what is missing first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/holm
# One target directory for every checkout of the same user: a fresh clone need not build everything again.
export CARGO_TARGET_DIR ?= $(CACHE_DIR)/target
export PATH := $(CACHE_DIR)/toolchains/bin:$(CACHE_DIR)/tools/bin:$(PATH)

SKIPS := $(CARGO_TARGET_DIR)/skipped-tests.txt
HOLM_DEMO := $(CARGO_TARGET_DIR)/release/holm
HOLM_TEST := $(CARGO_TARGET_DIR)/debug/holm
COUNT_INSTRUCTIONS := $(HOLM_DEMO) internal-bench-instructions --recorded crates/bench/instructions.toml

.PHONY: help demo test setup tools lint build-test build-demo bench-peers instructions-record

help:
	@echo "make demo          build, start a node, deploy the examples, print what to try, stay up"
	@echo "make demo CHECK=1  the same, call every example, print pass or fail, stop the node"
	@echo "make test          install what is missing and run every test"

# Guest toolchains (clang, Go, Zig, componentize-py, ...) and the C compiler that SQLite needs.
setup:
	@scripts/setup.sh

# The servers of others that `holm bench` measures against.
bench-peers:
	@scripts/bench-peers.sh

# What only the tests need.
tools: setup
	@scripts/tools.sh

build-demo: setup
	cargo build --release --locked --package holm

# The tests' own build makes the binary: one set of dependency features, built once.
build-test: tools
	cargo nextest run --workspace --locked --no-run

# Writes the committed instruction counts anew: docs/guide/instruction-counts.md says when.
instructions-record: build-demo
	@$(COUNT_INSTRUCTIONS) --record

demo: build-demo
	@$(HOLM_DEMO) setup
	@cargo xtask demo --holm $(HOLM_DEMO) $(if $(CHECK),--check,)

lint: tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask tidy
	cargo deny --offline check --hide-inclusion-graph licenses bans sources

test: lint build-test build-demo
	@$(HOLM_TEST) setup
	@$(HOLM_TEST) doctor
	@rm -f $(SKIPS)
	HOLM_TEST_SKIPS=$(SKIPS) cargo nextest run --workspace --locked
	cargo test --workspace --locked --doc
	HOLM_TEST_SKIPS=$(SKIPS) $(COUNT_INSTRUCTIONS)
	@touch $(SKIPS); echo "skipped for want of something on this machine: $$(wc -l < $(SKIPS))"; sort -u $(SKIPS)
