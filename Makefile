# The developer interface. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

NAME ?= default
KWOK ?= 5
NODES ?= 0
API_SERVERS ?= 1
DISK ?=
ROUTER ?=
FAST ?=
FROM ?=
GROUP ?=
SEEDS ?= 10000
FIRST ?= 1000
SEED ?= 0

UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PY := .venv/bin/python
STAMP := .venv/.drover-setup

##@ Use
.PHONY: demo
demo: setup ## Show the main job on a local control plane; FROM=DIR imports and runs your own Deployments
	$(PY) -m tools.demo $(if $(FROM),--from "$(FROM)")

.PHONY: demo-damage
demo-damage: setup ## The same shop on real nodes, as root: a power cut and a partition, with the live view
	$(PY) -m tools.demo --damage

.PHONY: demo-canary
demo-canary: setup ## A canary with gates on fake nodes: a good version goes through, a bad one is taken back, with the live view
	$(PY) -m tools.demo --canary

.PHONY: demo-down
demo-down: ## Stop the demonstration: operator, cluster and all
	@python3 -m tools.cluster down --name demo

.PHONY: cluster
cluster: ## Start a local cluster: NAME=default KWOK=5 (fake nodes) NODES=0 (real ones, as root) FAST=1 (notices lost nodes sooner) API_SERVERS=1 DISK=64M (of each real node) ROUTER=1 (Gateway API, before real nodes)
	@python3 -m tools.cluster up --name "$(NAME)" --kwok-nodes "$(KWOK)" --nodes "$(NODES)" --api-servers "$(API_SERVERS)" $(if $(FAST),--fast) $(if $(DISK),--disk "$(DISK)") $(if $(ROUTER),--router)

.PHONY: cluster-down
cluster-down: ## Stop it and remove what it left
	@python3 -m tools.cluster down --name "$(NAME)"

.PHONY: cluster-status
cluster-status: ## Show all local control planes
	@python3 -m tools.cluster status

.PHONY: cluster-kubeconfig
cluster-kubeconfig: ## Print the path of its kubeconfig
	@python3 -m tools.cluster kubeconfig --name "$(NAME)"

.PHONY: kind
kind: setup ## The same with kind, for people who have Docker
	@tools/kind/up.sh

##@ Develop
.PHONY: setup
setup: $(STAMP) ## Make .venv with everything in it

$(STAMP): pyproject.toml uv.lock sdk/pyproject.toml $(if $(filter .uv/%,$(UV)),.uv/bin/uv)
	@$(UV) sync --frozen --quiet --all-packages
	@touch $@

.uv/bin/uv:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed as python3" >&2; exit 1; }
	@python3 -m venv .uv 2>/dev/null || { rm -rf .uv; echo "error: python3 cannot make a venv; install it with: apt-get install python3-venv" >&2; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check uv

.PHONY: test
test: setup ## All tests: fast tiers, then those on a real API server (built on first use) and, where they can be had, on real nodes
	@$(PY) -m tools.tiers fast api real

.PHONY: test-fast
test-fast: setup ## The tiers that need no cluster
	@$(PY) -m tools.tiers fast

.PHONY: test-api
test-api: setup ## The tier on a real kube-apiserver, etcd, controller manager and scheduler
	@$(PY) -m tools.tiers api

.PHONY: test-real
test-real: setup ## The tier on real nodes: services under load while nodes, networks, programs and the control plane are damaged; as root
	@$(PY) -m tools.tiers real

.PHONY: scenarios
scenarios: setup ## The suites in the simulator: crashes, schedules, single faults, fuzz, small scope; tests/out/scenarios.json
	@$(PY) -m tools.tiers scenarios

.PHONY: scenarios-long
scenarios-long: setup ## Thousands of other schedules on all cores: SEEDS=10000 FIRST=1000
	@PYTHONPATH=tests $(PY) -m scenarios --seeds $(SEEDS) --first $(FIRST)

.PHONY: scenario
scenario: setup ## Play one schedule and show what was written: SEED=17
	@PYTHONPATH=tests $(PY) -m scenarios --seed $(SEED)

.PHONY: bench
bench: setup ## Measure what is published, on a quiet machine: GROUP=decide runs one group; a table, and bench/out/latest.json
	@$(PY) -m bench $(GROUP)

.PHONY: fmt
fmt: setup ## Format
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix --quiet . || true

.PHONY: lint
lint: setup ## ruff and the import contracts
	@.venv/bin/ruff format --check --quiet . || { echo "run: make fmt" >&2; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/lint-imports --no-cache > .venv/imports.log || { cat .venv/imports.log; exit 1; }

.PHONY: type
type: setup ## mypy and pyright, both strict
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/pyright --project pyproject.toml --pythonpath $(PY)

.PHONY: generate
generate: setup ## Write CRDs, RBAC, the fence and reference pages from the code
	@$(PY) -m tools.generate

.PHONY: verify
verify: setup ## Fail if generated files differ from the code
	@$(PY) -m tools.generate --check

.PHONY: check
check: lint type verify test ## Exactly what CI runs

.PHONY: clean
clean: ## Remove the environment and caches of this folder
	@rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/out bench/out

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' Makefile
