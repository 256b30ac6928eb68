# Targets for people and for .ci/run. `make run` does the main job; `make test` proves it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo
PROGRAMS := $(or $(CARGO_TARGET_DIR),target)/debug
# Root may have no Rust of its own, and sudo another PATH: it gets the caller's, and builds as the caller did.
KEPT := CARGO_TARGET_DIR CARGO_INCREMENTAL CARGO_TERM_COLOR RUSTFLAGS RUST_LOG CI
SUDO := $(if $(filter 0,$(shell id -u)),,sudo env PATH="$$PATH" CARGO_HOME="$${CARGO_HOME:-$$HOME/.cargo}" RUSTUP_HOME="$${RUSTUP_HOME:-$$HOME/.rustup}" $(foreach name,$(KEPT),$(if $(value $(name)),$(name)="$$$(name)")))
MEGABYTES ?= 300
CASES ?= 100000

.PHONY: help run stop screen test test-skew test-hardship test-large test-vm test-power pictures fuzz bench image image-lock programs build setup lint doc

help: ## Shows this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup programs ## Commissions a satellite and backs up a sample central through it; leaves it running
	@$(call as_root,to boot a satellite in a container with its own network,$(PROGRAMS)/lab run --megabytes $(MEGABYTES))

stop: programs ## Ends what `make run` left running, and removes it
	@$(call as_root,to end the container,$(PROGRAMS)/lab stop)

screen: ## Shows the console of the satellite of `make run`
	@$(call as_root,to see the container,$(PROGRAMS)/lab screen)

test: setup build ## Runs all tests
	@tests/fetch-axe target/axe.min.js
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  $(call as_root,for containers and network namespaces,$(CARGO) nextest run --workspace --locked); \
	  $(CARGO) test --workspace --locked --doc --quiet; \
	else \
	  $(call as_root,for containers and network namespaces,$(CARGO) test --workspace --locked -- --test-threads 2); \
	fi

test-skew: setup build ## Lets programs of the release before work with those of today; builds them once
	@$(call as_root,for containers and network namespaces,$(CARGO) test --workspace --locked --test skew -- --ignored --nocapture --test-threads 1)

test-hardship: setup build ## Brings updates over a bad line, to a full disk, to a clock that is years off; plugs a disk into a satellite
	@$(call as_root,for containers and network namespaces,$(CARGO) test --workspace --locked --test hardship --test disk -- --include-ignored --nocapture --test-threads 1)

test-large: setup build ## Backs up and restores a file of 20 GiB with holes and 100,000 small ones
	@$(call as_root,to be like the module on a server,$(CARGO) test --workspace --locked --test runs -- --ignored --nocapture gibibytes)

test-vm: setup build ## Runs all tests of the machine image in QEMU, with a release's bridge in it
	@$(CARGO) build --workspace --bin satellite-bridge --locked --release
	@$(call as_root,for network namespaces,env SATELLITE_IMAGE_BRIDGE=$(dir $(PROGRAMS))release/satellite-bridge $(CARGO) test --workspace --locked --test vm -- --include-ignored --nocapture --test-threads 1)

pictures: setup build ## Takes pictures of every page in every language, wide and narrow, light and dark (target/screenshots)
	@tests/fetch-axe target/axe.min.js
	@$(call as_root,for containers and network namespaces,$(CARGO) test --workspace --locked --test web -- --ignored --nocapture every_page)

test-power: setup build ## Cuts the power of satellites at random moments, 200 times in containers, 30 times in QEMU
	@$(call as_root,for containers and network namespaces,env SATELLITE_POWER_CUTS=200 $(CARGO) test --workspace --locked --test power -- --nocapture)
	@$(call as_root,for network namespaces,env SATELLITE_VM_CUTS=30 $(CARGO) test --workspace --locked --test vm -- --ignored --nocapture whenever_the_power_is_cut)

fuzz: ## Changes what comes from outside at random, for a long time (CASES)
	@PROPTEST_CASES=$(CASES) $(CARGO) test --workspace --locked --test fuzz
	@PROPTEST_CASES=$(CASES) $(CARGO) test --workspace --locked --lib -- firewall::document

bench: setup ## Measures against scp, tar and others; writes target/bench.json
	@image/setup image/bench-packages.txt
	@$(CARGO) build --workspace --bins --locked --release
	@$(CARGO) build --workspace --example fleet --locked --release
	@$(call as_root,for containers and network namespaces,$(dir $(PROGRAMS))release/bench)

image: setup ## Builds the machine image: raw, qcow2, OVA, vhdx, with checksums, SBOM and a signature
	@$(CARGO) build --workspace --bins --locked --release
	@$(call as_root,to make a root file system,$(dir $(PROGRAMS))release/lab image)

image-lock: setup programs ## Accepts the packages that the machine image consists of now (image/packages.lock)
	@$(call as_root,to make a root file system,$(PROGRAMS)/lab image --lock renew --formats qcow2)

programs: ## Builds the programs
	@$(CARGO) build --workspace --bins --locked

build: ## Builds the programs and the tests
	@$(CARGO) build --workspace --all-targets --locked

setup: ## Installs what the host is missing (image/host-packages.txt)
	@image/setup

lint: ## Checks form and style
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc: ## Builds the documentation of the code
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --quiet

# $(1): what root is needed for, $(2): the command.
define as_root
$(if $(SUDO),echo "Asking sudo: root is needed $(1)." >&2;) $(SUDO) $(2)
endef
