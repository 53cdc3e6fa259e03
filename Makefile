# Every command first makes the .venv it needs, from nothing but a python3 (3.11 or newer) with venv;
# .ci/environment says how, and goes on from any state.
#
#   make demo ARGS="--epochs 5"             options for python -m chainrule
#   make test ARGS="tests/core -x"          options for pytest
#   make test WORKERS=0                     in one process, for a debugger
#   PYTHON=python3.13 make test             another python

ARGS =
WORKERS = 2

PY = .venv/bin/python
ENVIRONMENT = @sh .ci/environment

.NOTPARALLEL:
.PHONY: help demo test peers lint bench docs clean
unexport PYTHONPATH PYTHONHOME

help:
	@echo 'make demo     watch a network learn handwritten digits'
	@echo 'make test     all tests but the comparisons with PyTorch'
	@echo 'make peers    the comparisons with PyTorch'
	@echo 'make lint     ruff (rules and format) and mypy --strict'
	@echo 'make bench    time a training step beside the lecture, plain NumPy and PyTorch'
	@echo 'make docs     build the site into site/'
	@echo 'make clean    remove .venv, the caches and site/'

demo:
	$(ENVIRONMENT) demo plot
	@$(PY) -m chainrule $(ARGS)

test:
	$(ENVIRONMENT) test test
	OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) $(ARGS)

peers:
	$(ENVIRONMENT) peers test,peers
	$(PY) -m pytest -m peers $(ARGS)

# matplotlib and SciPy are there for mypy, which reads the types of what is imported.
lint:
	$(ENVIRONMENT) lint dev,plot,scipy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict src

bench:
	$(ENVIRONMENT) bench peers
	$(PY) -m benchmarks $(ARGS)

# The variable silences the theme's announcement of its successor.
docs:
	$(ENVIRONMENT) docs docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

clean:
	rm -rf .venv site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
