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
.PHONY: help demo test test-lowest peers lint typing bench fuzz docs docs-next docs-serve site-tests clean
unexport PYTHONPATH PYTHONHOME

help:
	@echo 'make demo        watch a network learn handwritten digits'
	@echo 'make test        all tests but the comparisons with PyTorch'
	@echo 'make test-lowest the tests with the lowest versions that pyproject.toml allows'
	@echo 'make peers       the comparisons with PyTorch'
	@echo 'make lint        ruff (rules and format), mypy --strict, spelling and blocks of the pages'
	@echo 'make typing      what mypy and pyright report of a user program, in strict mode'
	@echo 'make bench       time a training step beside the lecture, plain NumPy and PyTorch'
	@echo 'make fuzz        change model files for ten minutes, to see that each is refused or whole'
	@echo 'make docs        build the site into site/: its examples run, its figures are drawn'
	@echo 'make docs-serve  the same, shown at http://127.0.0.1:8000/ while pages are written'
	@echo 'make docs-next   the same site with zensical, into site-next/'
	@echo 'make site-tests  read every page of the site in headless Chromium'
	@echo 'make clean       remove .venv, the caches and site/'

demo:
	$(ENVIRONMENT) demo plot
	@$(PY) -m chainrule $(ARGS)

test:
	$(ENVIRONMENT) test test
	OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) $(ARGS)

# On Python 3.11 or 3.12, with the lowest versions that pyproject.toml allows. Left out is what no
# library's version changes and takes longest: the laws, the derivatives, the examples, the site. Old
# libraries may use what newer ones deprecate, such as matplotlib 3.9 with pyparsing 3.3.
test-lowest:
	@$${PYTHON:-python3} .ci/lowest
	OPENBLAS_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n $(WORKERS) --ignore tests/laws \
		--ignore tests/calculus --ignore tests/examples --ignore tests/site \
		--ignore tests/test_docs.py --ignore tests/test_site_pages.py \
		-W ignore::DeprecationWarning $(ARGS)

peers:
	$(ENVIRONMENT) peers test,peers
	$(PY) -m pytest -m peers $(ARGS)

# What the site is built with is there for mypy, which reads the types of what is imported.
lint:
	$(ENVIRONMENT) lint dev,docs
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict src site_builder
	$(PY) -m site_builder lint

typing:
	$(ENVIRONMENT) typing test,typing
	$(PY) -m pytest -m typing tests/type_checking $(ARGS)

bench:
	$(ENVIRONMENT) bench peers
	$(PY) -m benchmarks $(ARGS)

# Less than ten minutes: make fuzz ARGS="--seconds 60"
fuzz:
	$(ENVIRONMENT) fuzz fuzz
	$(PY) -m fuzz $(ARGS)

# Strict: a block that fails, a number that has moved or a link that leads nowhere is an error.
# The first time, npm fetches KaTeX and Mermaid, which the site then serves itself.
docs:
	$(ENVIRONMENT) docs docs
	$(PY) -m site_builder build

docs-next:
	$(ENVIRONMENT) docs-next docs,docs-next
	$(PY) -m site_builder next

docs-serve:
	$(ENVIRONMENT) docs docs
	$(PY) -m site_builder serve $(ARGS)

# The pages of site/ as a reader sees them; pictures of six of them are left in build/screenshots/.
site-tests: docs
	$(ENVIRONMENT) site-tests test,docs,browser
	$(PY) -m pytest -m site tests/site $(ARGS)

clean:
	rm -rf .venv .venv-lowest site site-next dist build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests examples benchmarks fuzz docs site_builder -name __pycache__ -type d -prune -exec rm -rf {} +
