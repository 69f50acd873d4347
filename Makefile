# `make help` lists the targets. Each sets up what it needs and says what it does.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
# What is compiled is kept in the user's cache, not in the tree.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gpu-bench/cargo
CARGO := $(shell command -v cargo)
say = @printf '\033[1m== %s\033[0m\n' "$(1)"

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: system
system: ## what the machine itself must have: as root on Debian it is installed, otherwise all that is missing is named
	@./system-packages

.venv/.installed: pyproject.toml $(wildcard setup.py) | system
	$(call say,Python packages into .venv)
	@test -x $(BIN)/python || python3 -m venv .venv
	$(if $(CARGO),,@echo "No Rust toolchain: the load generator will run its Python engine.")
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: setup
setup: .venv/.installed ## the command at .venv/bin/bench

.PHONY: demo
demo: setup ## bring up the lab, load an inference server through its Gateway, watch the autoscaler, tell the verdicts
	$(call say,The lab: a Kubernetes control plane with simulated GPUs (built at the first time: about 15 minutes))
	@$(BIN)/bench lab build
	@$(BIN)/bench lab up --name demo --exporter-interval 2 --scrape-interval 2 --hpa-sync 3
	$(call say,Autoscaling on a GPU metric: about 4 minutes)
	@$(BIN)/bench run pod-autoscaling --target lab:demo --results .demo $(DEMO:%=--set pod-autoscaling.%); \
	status=$$?; $(BIN)/bench lab down --name demo && exit $$status

# The model is the one that the lab's ollama image carries; the intervals are those that the lab above was told. Arrivals are
# random: in a run with a window of 8 s chance alone took a replica away within a step up.
DEMO := model=lab-llama collect_interval_seconds=2 repeats=2 up_seconds=45 down_seconds=60 stabilization_seconds=15 \
	idle_seconds=8 prompt_tokens=8 output_tokens=8

.PHONY: check
check: setup ## lint, format, types, import contracts
	$(call say,ruff: mypy: import contracts)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: unit
unit: setup ## the unit tests, without a lab
	$(call say,Unit tests)
	@$(BIN)/python -m pytest tests/unit --timeout 30 --numprocesses 2

.PHONY: engine
engine: setup ## the tests of the load engine's crate, where there is a Rust toolchain
	$(call say,Tests of the load engine)
	$(if $(CARGO),@$(CARGO) test --quiet --locked --manifest-path bench/load/engine/Cargo.toml,@echo "No Rust toolchain: left out.")

.PHONY: test
test: check unit engine ## all checks and tests; brings up labs, and builds their programs at the first time
	$(call say,The lab\'s programs)
	@$(BIN)/bench lab build
	$(call say,Tests on two labs at once)
	@$(BIN)/python -m pytest $(LAB_TESTS) -m 'not measures' --timeout 300 --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(call say,Tests that measure: one at a time)
	@$(BIN)/python -m pytest $(LAB_TESTS) -m measures --timeout 400

# The longest first: the last to end is waited for.
LAB_TESTS := tests/scenarios tests/bench tests/lab tests/targets tests/docs

.PHONY: bench-lab
bench-lab: setup ## measure the lab itself against its budgets; writes results/bench-lab
	@$(BIN)/bench lab build
	@$(BIN)/python -m tests.lab.bench_lab

.PHONY: bench-load
bench-load: setup ## measure the load generator against its gates; writes results/bench-load
	@$(BIN)/python -m tests.bench.gates

.PHONY: bench-autoscaling
bench-autoscaling: setup ## prove stages and reactions of autoscaling on a lab (45 minutes); writes results/bench-autoscaling
	@$(BIN)/bench lab build
	@$(BIN)/python -m tests.scenarios.bench_autoscaling

.PHONY: bench-fidelity
bench-fidelity: setup ## hold accelerator-metrics against a lab's own log (35 minutes); writes results/bench-fidelity
	@$(BIN)/bench lab build
	@$(BIN)/python -m tests.scenarios.bench_fidelity

.PHONY: bench-isolation
bench-isolation: setup ## try a sound lab again and again, and each leak alone (13 minutes); writes results/bench-isolation
	@$(BIN)/bench lab build
	@$(BIN)/python -m tests.scenarios.bench_isolation
