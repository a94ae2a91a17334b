# varq on a bare machine: `make demo` shows it at work, `make test` passes its tests.  Both first set up $(VENV), once.
#   PYTHON=/path/to/python   the Python that $(VENV) is made from (default: the newest of 3.13, 3.12, 3.11 found)
#   VENV=folder              where (default: .venv); `make clean` removes it
#   WORKERS=2                test processes
.SUFFIXES:
.PHONY: demo test style types tests tests-x64 lock clean

PYTHON =
VENV = .venv
WORKERS = 2
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# A slow index is no reason to fail.
PIP_DEFAULT_TIMEOUT = 180
export PIP_DEFAULT_TIMEOUT

# Tests only: compiled circuits are shared by workers, passes and later runs; threads by the workers.  Tests compile much
# and compute little, so that XLA generates code in its cheapest ways (a jaxlib that no longer knows one of these flags
# stops and says so: then it goes); .ci/full has other legs that compile as users do.
TESTING = JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.cache/jax" \
          XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false" \
          OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST = $(TESTING) $(BIN)/pytest -n $(WORKERS) --dist worksteal --durations 15

# An environment whose Python has gone is made again.
STALE := $(shell test -x $(BIN)/python || rm -f $(VENV)/.varq-*)

demo: $(VENV)/.varq-run
	$(BIN)/varq demo

test: style types tests

style: $(VENV)/.varq-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.varq-test
	$(BIN)/mypy

# With JAX's x64 flag off, as everyone has it: all tests; test_precision.py has processes of its own for either setting.
tests: $(VENV)/.varq-test
	JAX_ENABLE_X64=0 $(PYTEST) -m "not full"

# With the flag on: the tests that touch JAX.  Too many for every change; the wide gate calls this.
tests-x64: $(VENV)/.varq-test
	JAX_ENABLE_X64=1 $(PYTEST) -m "not full and not flagless"

$(VENV)/.varq-made:
	@.ci/venv "$(VENV)" "$(PYTHON)"
	@touch $@

$(VENV)/.varq-run: pyproject.toml constraints.txt $(VENV)/.varq-made
	@echo "Installing varq and what it needs into $(VENV); the first time takes a few minutes."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.varq-test: pyproject.toml constraints.txt $(VENV)/.varq-made
	@echo "Installing varq with its test tools into $(VENV); the first time takes a few minutes."
	@$(INSTALL) --editable ".[test]"
	@touch $@ $(VENV)/.varq-run

# The versions that both commands install.  Needs uv; the bounds themselves stand in pyproject.toml.
lock:
	uv pip compile pyproject.toml --all-extras --universal --upgrade --fork-strategy fewest --no-annotate --quiet \
	  --custom-compile-command "make lock" --python-version 3.11 --no-emit-package varq --output-file constraints.txt

clean:
	rm -rf $(VENV) .cache
