# Every command first creates or updates the .venv that it needs. All it requires is python3 (3.11 or
# newer) with venv. See .ci/environment.
#
#   make demo ARGS="--epochs 5"             options for python -m chainrule
#   make test ARGS="tests/core -x"          options for pytest
#   make test WORKERS=0                     in a single process, for a debugger
#   PYTHON=python3.13 make test             with a different Python

ARGS =
WORKERS = 2

PY = .venv/bin/python
ENVIRONMENT = @sh .ci/environment

.NOTPARALLEL:
.PHONY: help demo test test-lowest examples peers edges edges-lowest lint typing bench seeds studies fuzz docs docs-next docs-serve site-tests clean
unexport PYTHONPATH PYTHONHOME

help:
	@echo 'make demo        watch a network learn handwritten digits'
	@echo 'make test        run all tests but those that have a command of their own'
	@echo 'make test-lowest the tests with the lowest versions that pyproject.toml allows'
	@echo 'make examples    run every example to its end and check what it has learned'
	@echo 'make peers       run the comparisons with PyTorch and scikit-learn'
	@echo 'make edges       test the adapters for scikit-learn, ONNX, MPI and Jupyter'
	@echo 'make edges-lowest the same with the lowest versions of those libraries'
	@echo 'make lint        ruff (rules and format), mypy --strict, spelling and code blocks of the pages'
	@echo 'make typing      what mypy and pyright report of a user program, in strict mode'
	@echo 'make bench       compare the time of a training step with the lecture, plain NumPy and PyTorch'
	@echo 'make seeds       check every layer with N=1000 seeds: no law may be reported as broken'
	@echo 'make studies     repeat the long computations that the site shows, and compare'
	@echo 'make fuzz        modify model files for ten minutes and check that each is rejected or intact'
	@echo 'make docs        build the site into site/, running its examples and drawing its figures'
	@echo 'make docs-serve  show the site at http://127.0.0.1:8000/ and rebuild it as you write'
	@echo 'make docs-next   build the same site with zensical into site-next/'
	@echo 'make site-tests  test every page of the site in headless Chromium'
	@echo 'make clean       remove .venv, the caches and the built sites'

demo:
	$(ENVIRONMENT) demo plot
	@$(PY) -m chainrule $(ARGS)

test:
	$(ENVIRONMENT) test test
	OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) $(ARGS)

# On Python 3.11 or 3.12, with the lowest versions that pyproject.toml allows. The slowest tests, which
# depend on no library's version, are left out: the laws, the derivatives, the site. Old
# libraries may use features that newer ones deprecate, such as matplotlib 3.9 with pyparsing 3.3.
test-lowest:
	@$${PYTHON:-python3} .ci/lowest test
	OPENBLAS_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n $(WORKERS) --ignore tests/laws \
		--ignore tests/calculus --ignore tests/symbolic --ignore tests/site \
		--ignore tests/test_docs.py --ignore tests/test_site_pages.py \
		-W ignore::DeprecationWarning $(ARGS)

examples:
	$(ENVIRONMENT) examples test
	OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) -m examples tests/examples $(ARGS)

peers:
	$(ENVIRONMENT) peers test,peers
	$(PY) -m pytest -m peers $(ARGS)

edges:
	$(ENVIRONMENT) edges test,edges
	OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -m edges $(ARGS)

# Left out are tests that judge by ONNX's reference implementation and by its own cases: those of the
# oldest version are incomplete, and wrong for float64 and for some pools.
JUDGED_BY_ONNX = (onnx_save and (float64 or any_size)) or node_cases or large_array

edges-lowest:
	@$${PYTHON:-python3} .ci/lowest test,edges
	OPENBLAS_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -m edges \
		-k 'not ($(JUDGED_BY_ONNX))' -W ignore::DeprecationWarning $(ARGS)

# The docs extra is installed so that mypy can read the types of what site_builder imports.
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

studies:
	$(ENVIRONMENT) studies test
	OPENBLAS_NUM_THREADS=1 $(PY) -m studies $(ARGS)

# N seeds for each layer, from FIRST on; ONLY selects layers by name. See tests/laws/seeds.py.
N = 1000
FIRST = 0
ONLY =

seeds:
	$(ENVIRONMENT) seeds test
	OPENBLAS_NUM_THREADS=1 PYTHONPATH=tests $(PY) -m laws.seeds -n $(N) --first $(FIRST) --only "$(ONLY)" $(ARGS)

# For less than ten minutes: make fuzz ARGS="--seconds 60"
fuzz:
	$(ENVIRONMENT) fuzz fuzz
	$(PY) -m fuzz $(ARGS)

# Strict: a failing block, a changed number or a broken link is an error.
# The first build downloads KaTeX and Mermaid with npm; the site serves them itself.
docs:
	$(ENVIRONMENT) docs docs
	$(PY) -m site_builder build

docs-next:
	$(ENVIRONMENT) docs-next docs,docs-next
	$(PY) -m site_builder next

docs-serve:
	$(ENVIRONMENT) docs docs
	$(PY) -m site_builder serve $(ARGS)

# Tests the pages in site/ as a reader sees them; saves screenshots of six in build/screenshots/.
site-tests: docs
	$(ENVIRONMENT) site-tests test,docs,browser
	$(PY) -m pytest -m site tests/site $(ARGS)

clean:
	rm -rf .venv .venv-lowest site site-next dist build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests examples benchmarks fuzz docs site_builder -name __pycache__ -type d -prune -exec rm -rf {} +
