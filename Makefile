# make reproduce   set up and reproduce every figure into report/   (SCALE=quick, paper or large)
# make test        set up and run every check
# make docs        set up and build the documentation into build/site
# make bench       set up and run the benchmarks
PYTHON ?= python3
SCALE ?= quick
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# one thread a process: the tests run processes side by side
SINGLE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: reproduce test docs bench clean

reproduce: $(VENV)/reproduce.stamp
	$(VENV)/bin/resolvent reproduce --scale $(SCALE) --out report

test: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(SINGLE) $(VENV)/bin/python -m pytest --numprocesses=auto

docs: $(VENV)/docs.stamp
	$(SINGLE) $(VENV)/bin/python docs/site/build.py build/site

bench: $(VENV)/bench.stamp
	$(SINGLE) $(VENV)/bin/python benchmarks/all.py

$(VENV)/%.stamp: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) report build dist
