# `make` lists what there is. Everything that is installed goes below build/ and the node_modules/ of demo/ and bindings-node/;
# nothing global is touched. Needed: Rust, a C compiler, make, Python 3.11 with venv, Node.js 20 with npm; for the tests g++, pkg-config,
# valgrind and libsqlite3-dev as well. What is missing is said before anything is built.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
PREFIX ?= /usr/local
LOCKED ?= --locked
DEMO ?=
SOAK_RUNS ?= 20
SOAK_KILLS ?= 60
SOAK_WORKERS ?= 6
SOAK_SENDERS ?= 4
SOAK_COPIES ?= 5
BENCH ?=

BUILD := $(CURDIR)/build
VENV := $(BUILD)/venv
STAMPS := $(BUILD)/stamps
LOGS := $(BUILD)/logs
WHEELS := $(BUILD)/wheels
QUIETLY := scripts/quietly
VENV_PYTHON := $(VENV)/bin/python
# Release builds have a folder of their own: maturin sets variables that would make cargo build pyo3 anew each time.
RELEASE_TARGET := $(CURDIR)/target/shipped
# The C library as it is installed; the programs in C of the demo and of the tests are built against it.
C_PREFIX := $(BUILD)/c

RUST_SOURCES := $(shell find core bindings-c bindings-python bindings-node -name node_modules -prune -o -name target -prune -o \( -name '*.rs' -o -name Cargo.toml -o -name '*.sql' -o -name '*.c' \) -print 2>/dev/null)
PYTHON_SOURCES := $(shell find bindings-python/python -name '*.py' -o -name '*.pyi' -o -name py.typed 2>/dev/null)
RUST_TESTED := --workspace --exclude onceward-python --all-features
# They wait more than they work. What is in one file stays together.
SPREAD := --numprocesses 3 --dist loadfile
# What ruff and mypy look at besides the module itself, which has settings of its own.
PYTHON_FOLDERS := demo examples/python examples/ffi bench/languages scripts tests/mixed

export CARGO_TERM_COLOR ?= auto
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NPM_CONFIG_UPDATE_NOTIFIER := false
# Caches of the tools stay out of the tree.
export MYPY_CACHE_DIR := $(BUILD)/cache/mypy
export RUFF_CACHE_DIR := $(BUILD)/cache/ruff
export PYTEST_ADDOPTS := -p no:cacheprovider

.PHONY: help setup build install demo test built rust-tests test-rust test-python test-node test-mixed test-tree lint bench soak clean

help: ## list the targets
	@printf 'Onceward. Targets:\n\n'
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done
	@printf '\nThe demo takes options: make demo DEMO="--seed 7 --kills 40" (DEMO=--help lists them).\n'

setup: $(STAMPS)/tools $(STAMPS)/venv $(STAMPS)/npm ## check the tools, install what Python and the demo need below the tree

build: $(STAMPS)/module ## build the Python module (release) and install it into build/venv

install: $(STAMPS)/tools ## build the C library (release) and install it: make install PREFIX=/usr/local
	CARGO_TARGET_DIR=$(RELEASE_TARGET) cargo build $(LOCKED) --release -p onceward-c
	scripts/install-c $(RELEASE_TARGET)/release $(PREFIX)

demo: $(STAMPS)/demo ## the main job: 329 real webhooks through the three promises while processes are killed
	@cd demo && $(VENV_PYTHON) -m webhooks $(DEMO)

test: $(STAMPS)/tools-test built test-tree test-rust test-python test-node test-mixed ## run every test
	@echo 'every test passed'

# Each keeps one processor busy only, for long stretches.
built: $(STAMPS)/tools ## build what the tests run, two things at a time
	@$(MAKE) --no-print-directory -j2 $(STAMPS)/node-npm $(STAMPS)/module rust-tests $(STAMPS)/node $(STAMPS)/demo

# No stamp: cargo knows best what has changed.
rust-tests: $(STAMPS)/tools-test-rust ## build the tests of the Rust crates
	@$(QUIETLY) 'building the tests of the Rust crates' $(LOGS)/rust-tests.log cargo test $(LOCKED) $(RUST_TESTED) --no-run

test-rust: $(STAMPS)/tools-test-rust $(STAMPS)/module $(STAMPS)/node ## the tests of the Rust crates (the benchmark's test measures every language)
	$(PYTHON) scripts/rust_tests.py 2 $(LOCKED) $(RUST_TESTED)

test-python: $(STAMPS)/module ## the tests of the Python module and its examples
	cd bindings-python && $(VENV_PYTHON) -m pytest $(SPREAD)
	cd examples/python && $(VENV_PYTHON) -m pytest -q --numprocesses 2 tests

test-mixed: $(STAMPS)/demo ## the tests that mix the languages on one file, and those of the demo
	cd tests/mixed && $(VENV_PYTHON) -m pytest --numprocesses 2
	cd demo && $(VENV_PYTHON) -m pytest --numprocesses 2

test-node: $(STAMPS)/tools-test-node $(STAMPS)/node $(STAMPS)/node-npm ## the tests of the Node module, its types and its examples
	cd bindings-node && npm run --silent types && npm --silent test

test-tree: $(STAMPS)/venv ## the rules of the source tree itself
	$(PYTHON) scripts/check_tree.py
	$(PYTHON) scripts/version.py
	cd scripts && $(VENV_PYTHON) -m pytest -q

lint: $(STAMPS)/tools-lint $(STAMPS)/module $(STAMPS)/npm ## formatting, clippy, rustdoc, ruff, mypy, stubtest; warnings are errors
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(LOCKED) --workspace --all-features --no-deps
	for folder in bindings-python $(PYTHON_FOLDERS); do (cd $$folder && $(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --check --quiet .); done
	cd bindings-python && $(VENV)/bin/mypy
	cd demo && $(VENV)/bin/mypy webhooks tests
	cd tests/mixed && $(VENV)/bin/mypy --strict *.py && $(VENV)/bin/mypy --strict peers/*.py
	cd examples/python && $(VENV)/bin/mypy --strict *.py tests && $(VENV)/bin/mypy --strict bank/*.py
	cd examples/ffi && $(VENV)/bin/mypy --strict orders.py
	cd bench/languages && $(VENV)/bin/mypy --strict bench.py
	cd scripts && $(VENV)/bin/mypy --strict *.py
	cd bindings-python && $(VENV)/bin/stubtest onceward

bench: $(STAMPS)/module $(STAMPS)/node ## measure speed: beside bare SQLite, and each language beside Rust (BENCH="…" passes options on)
	CARGO_TARGET_DIR=$(RELEASE_TARGET) cargo build $(LOCKED) --release -p onceward-c
	CARGO_TARGET_DIR=$(RELEASE_TARGET) cargo run $(LOCKED) --release -p onceward-bench -- $(BENCH)

soak: $(STAMPS)/demo ## the main job many times over, with other seeds (SOAK_RUNS, SOAK_KILLS, SOAK_WORKERS, …)
	@cd demo && for run in $$(seq $(SOAK_RUNS)); do \
	  echo "run $$run of $(SOAK_RUNS)"; \
	  $(VENV_PYTHON) -m webhooks --seed $$((RANDOM * 32768 + RANDOM)) --kills $(SOAK_KILLS) --batch 2 \
	    --workers $(SOAK_WORKERS) --senders $(SOAK_SENDERS) --copies $(SOAK_COPIES); \
	done

clean: ## delete what was built and installed
	rm -rf $(BUILD) target demo/node_modules bindings-node/node_modules bindings-node/onceward.node
	find . -name node_modules -prune -o -type d \( -name __pycache__ -o -name .pytest_cache -o -name .mypy_cache -o -name .ruff_cache \) -print0 | xargs -0 rm -rf

$(STAMPS)/tools: scripts/check-tools
	@PYTHON=$(PYTHON) scripts/check-tools
	@mkdir -p $(STAMPS) && touch $@

# What a target needs beyond that.
$(STAMPS)/tools-%: scripts/check-tools
	@PYTHON=$(PYTHON) scripts/check-tools $*
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: bindings-python/requirements-dev.txt | $(STAMPS)/tools
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(QUIETLY) 'installing the Python tools' $(LOGS)/venv.log $(VENV_PYTHON) -m pip install --quiet --no-compile --requirement $<
	@touch $@

$(STAMPS)/npm: demo/package.json demo/package-lock.json | $(STAMPS)/tools
	@$(QUIETLY) 'installing the webhook bodies' $(LOGS)/npm.log npm --prefix demo ci --ignore-scripts --no-audit --no-fund
	@touch $@

# Not optimised: the tests only ask whether it loses rows.
$(STAMPS)/node-npm: bindings-node/package.json bindings-node/package-lock.json | $(STAMPS)/tools
	@$(QUIETLY) "installing what the Node module's tests need (better-sqlite3 is compiled)" $(LOGS)/node-npm.log \
	  env CFLAGS=-O0 CXXFLAGS=-O0 npm --prefix bindings-node ci --no-audit --no-fund
	@touch $@

$(STAMPS)/node: Cargo.toml $(wildcard Cargo.lock) bindings-node/scripts/build.mjs $(RUST_SOURCES) | $(STAMPS)/tools
	@$(QUIETLY) 'building the Node module (release)' $(LOGS)/node.log \
	  env CARGO_TARGET_DIR=$(RELEASE_TARGET) node bindings-node/scripts/build.mjs
	@touch $@

$(STAMPS)/c: Cargo.toml $(wildcard Cargo.lock) scripts/install-c include/onceward.h $(RUST_SOURCES) | $(STAMPS)/tools
	@$(QUIETLY) 'building the C library (release)' $(LOGS)/c.log \
	  env CARGO_TARGET_DIR=$(RELEASE_TARGET) cargo build $(LOCKED) --release -p onceward-c
	@rm -rf $(C_PREFIX)
	@$(QUIETLY) 'installing the C library below build/c' $(LOGS)/install-c.log scripts/install-c $(RELEASE_TARGET)/release $(C_PREFIX)
	@touch $@

$(STAMPS)/demo-c: $(wildcard demo/c/*) $(STAMPS)/c
	@mkdir -p $(BUILD)/demo
	@for program in sender worker; do \
	  $(QUIETLY) "compiling the demo's $$program in C" $(LOGS)/demo-c.log cc -std=c99 -D_POSIX_C_SOURCE=200809L -O2 -Wall -Wextra -Wpedantic \
	    -Werror -I$(C_PREFIX)/include -o $(BUILD)/demo/$$program demo/c/$$program.c demo/c/child.c demo/c/sha256.c \
	    -L$(C_PREFIX)/lib -Wl,-rpath,$(C_PREFIX)/lib -lonceward; \
	done
	@touch $@

# Everything that the demo and its tests run.
$(STAMPS)/demo: $(STAMPS)/module $(STAMPS)/npm $(STAMPS)/node $(STAMPS)/demo-c
	@touch $@

$(STAMPS)/module: Cargo.toml $(wildcard Cargo.lock) bindings-python/pyproject.toml $(RUST_SOURCES) $(PYTHON_SOURCES) $(STAMPS)/venv
	@rm -rf $(WHEELS)
	@$(QUIETLY) 'building the Python module (release; the first time takes a minute or two)' $(LOGS)/module.log \
	  env CARGO_TARGET_DIR=$(RELEASE_TARGET) $(VENV)/bin/maturin build $(LOCKED) --release --manifest-path bindings-python/Cargo.toml \
	  --interpreter $(VENV_PYTHON) --out $(WHEELS)
	@$(QUIETLY) 'installing the Python module' $(LOGS)/install.log \
	  $(VENV_PYTHON) -m pip install --quiet --force-reinstall --no-deps --no-index $(WHEELS)/*.whl
	@touch $@
