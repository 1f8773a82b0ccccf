# `make check` runs what CI runs. Everything is installed into VENV, which is made on first use.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# --verifytypes looks at the first python on the PATH, and at no option.
ON_PATH := PATH="$(abspath $(BIN)):$$PATH"
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The examples that are packages are installed as their users would: away from the checkout.
ALONE := build/examples-venv

# A change of pyproject.toml installs again. `to-run` has what the demo and the tests need, `to-bench` what flowgate is
# measured beside, `to-develop` all the rest.
TO_RUN := $(VENV)/.installed-to-run
TO_BENCH := $(VENV)/.installed-to-bench
PARTS := --editable ./examples/fake_vllm --editable './examples/epp[test]'
TO_DEVELOP := $(VENV)/.installed-to-develop

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test kubernetes-test lint types docs dist examples bench bench-quick bench-adaptive check clean

help:
	@echo "make demo         install into $(VENV), and watch a pool behind Envoy scale from zero"
	@echo "make test         install into $(VENV), and run the tests under branch coverage"
	@echo "make kubernetes-test  the tests on a real Kubernetes API server, which is built once (5 min)"
	@echo "make dist         build wheel and sdist, and try them in clean environments (3 min)"
	@echo "make check        run what CI runs: lint, types, docs, dist, examples, kubernetes-test, test"
	@echo "make bench        run the benchmarks, for docs/ (bench-quick: in a minute; bench-adaptive: limits found)"
	@echo "make clean        remove what these commands made"

demo: $(TO_RUN)
	$(BIN)/python -m examples.demo

# The gate prints coverage before pytest's own summary, and fails the run if anything is uncovered.
test: $(TO_RUN)
	$(BIN)/python -m coverage run -m pytest -p tests.coverage_gate

# What a real API server is asked; `make test` asks a fake one, which the same tests hold to the real one's ways.
kubernetes-test: $(TO_RUN)
	FLOWGATE_KUBERNETES=$$($(BIN)/python -m examples.stage.kubernetes.binaries) && export FLOWGATE_KUBERNETES && \
	$(BIN)/python -m pytest $(addprefix examples/epp/,tests/fake_kubernetes tests/kubernetes tests/manifests cluster_tests)

lint: $(TO_DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TO_DEVELOP)
	$(BIN)/mypy
	$(ON_PATH) basedpyright
	$(ON_PATH) basedpyright --verifytypes flowgate --ignoreexternal

docs: $(TO_DEVELOP)
	$(BIN)/python -m sphinx -n -W --keep-going -E -q -b html docs docs/_build/html

# The wheel and the sdist: what they hold, and our tests against the wheel, on the newest and the oldest dependencies.
dist: $(TO_DEVELOP)
	$(BIN)/python -m pytest -q dist_tests

examples: $(TO_RUN)
	$(BIN)/python examples/quickstart/quickstart.py
	$(BIN)/python docs/how-to/choose_policies.py
	$(BIN)/python -m examples.demo
	rm -rf $(ALONE)
	$(PYTHON) -m venv $(ALONE)
	$(ALONE)/bin/python -m pip install --quiet --disable-pip-version-check './examples/custom_policy[test]' './examples/asgi_gateway[proxy,test]'
	$(ALONE)/bin/python -m flowgate check examples/custom_policy/gateway.toml
	cd examples/custom_policy && $(abspath $(ALONE))/bin/python -m pytest -q
	cd examples/asgi_gateway && $(abspath $(ALONE))/bin/python -m pytest -q

# Under 15 minutes on two quiet cores. The documentation shows what it writes.
bench: $(TO_BENCH)
	mkdir -p build
	$(BIN)/python -m benchmarks --json build/benchmarks.json \
		--report docs/explanation/performance-figures.md --plots docs/explanation

bench-quick: $(TO_BENCH)
	$(BIN)/python -m benchmarks --quick

bench-adaptive: $(TO_RUN)
	$(BIN)/python -m benchmarks.adaptive

check: lint types docs dist examples kubernetes-test test

clean:
	rm -rf $(VENV) build dist docs/_build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(TO_RUN): pyproject.toml examples/epp/pyproject.toml examples/fake_vllm/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("flowgate needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable '.[demo,test]' $(PARTS)
	@touch $@

$(TO_BENCH): $(TO_RUN)
	$(PIP_INSTALL) --editable '.[bench]'
	@touch $@

$(TO_DEVELOP): $(TO_RUN)
	$(PIP_INSTALL) --editable '.[demo,dist,docs,lint,test]' $(PARTS)
	@touch $@
