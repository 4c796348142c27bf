# Everything runs in .venv, which the first command makes. Only Python 3.11 or newer, pip, make and git are needed.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs/demo
JOBS ?= 2

.PHONY: install demo test test-vllm test-verl gpu lint bench docs clean-demo

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "thickets needs Python 3.11 or newer, not " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		$$($(BIN)/python scripts/torch_index.py) --editable '.[dev]'
	@touch $@

demo: install
	@$(BIN)/python scripts/fetch_demo.py
	@HF_HUB_OFFLINE=1 $(BIN)/thickets run examples/sentiment.toml --out $(OUT)

# Tests use one thread each, so two at a time do not disturb one another on two cores.
test: lint
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder

# The vllm engine with real vLLM on this CPU, in an environment of its own (.venv-vllm, about 4 GB).
test-vllm:
	@PYTHON=$(PYTHON) scripts/install_vllm.sh
	HF_HUB_OFFLINE=1 .venv-vllm/bin/python -m pytest tests/vllm

# What is written for PPO, before verl's own loaders (.venv-verl, on top of .venv). Trains nothing.
test-verl: install
	@scripts/install_verl.sh
	HF_HUB_OFFLINE=1 .venv-verl/bin/python -m pytest tests/baselines/test_verl.py

# On a machine with an NVIDIA card: what cannot be tested or measured without one.
gpu: install
	@$(BIN)/python scripts/fetch_demo.py
	@scripts/gpu.sh

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@$(BIN)/python scripts/fetch_demo.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/noise.py
	$(BIN)/python benchmarks/noise_limits.py
	$(BIN)/python benchmarks/driver_memory.py
	$(BIN)/python benchmarks/pool.py
	$(BIN)/python benchmarks/signals.py
	$(BIN)/python benchmarks/sandbox.py

docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --quiet --site-dir build/site

clean-demo:
	rm -rf $(OUT)
