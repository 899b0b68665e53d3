# The two that everybody needs: `make demo` and `make test`. Each sets up what it needs, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml requirements/dev.txt
# pip's view of any CPython from 3.9 on: wheels that all of them can use.
ANY_PYTHON := --implementation py --abi none --python-version 3.9 \
	$(foreach policy,manylinux_2_28 manylinux_2_17 manylinux2014,--platform $(policy)_$(shell uname -m))

COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
	$(if $(UPGRADE),--upgrade)

# One more than there are cores: tests wait for servers and processes as well.
WORKERS ?= $(shell expr $$(nproc) + 1)

.PHONY: demo test test-containers test-index test-under-load check format docs site pictures lock bench package clean

demo: $(VENV)/.ready ## build examples/spam for every Python on this machine
	$(BIN)/manywheels build examples/spam --build all --output-dir examples/spam/dist

test: $(VENV)/wheels/.ready ## what needs neither Docker nor the network: the code, publishing to local servers, real builds
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup tests/host tests/publish tests/unit $(PYTEST_ARGS)

test-containers: $(VENV)/.ready ## what needs Docker, act, gitlab-ci-local, Chromium or docker-registry; skipped where these are missing
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/containers $(PYTEST_ARGS)

test-index: $(VENV)/.ready ## what needs the package index: the newest wheels of well-known projects, real signatures
	$(BIN)/python -m pytest -n auto --dist loadgroup tests/pypi $(PYTEST_ARGS)

RUNS ?= 10
LOOPS ?= 4
RING ?= test
test-under-load: $(VENV)/wheels/.ready ## a ring several times beside busy loops: finds tests that fail by chance or by load
	$(BIN)/python tests/under_load.py --runs $(RUNS) --loops $(LOOPS) --ring $(RING)

check: $(VENV)/.ready ## linters and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m pytest --quiet tests/unit/test_root_opens.py
	$(BIN)/python docs/tables.py --check
	$(BIN)/python docs/gitlab.py --check
	$(BIN)/python docs/completion.py --check
	$(BIN)/python docs/workflow.py --check

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready ## write the generated tables of README.md and docs/ anew
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/checks.py
	$(BIN)/python docs/gitlab.py
	$(BIN)/python docs/completion.py
	$(BIN)/python docs/workflow.py

SITE ?= site
site: $(VENV)/site/.ready ## the documentation as a site, in site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/site/bin/mkdocs build --site-dir $(abspath $(SITE))

pictures: $(VENV)/.ready ## take the README's pictures of a real run anew; needs Chromium and npm
	$(BIN)/python docs/pictures.py tests/projects/fails_on_311

bench: $(VENV)/.ready ## side by side with cibuildwheel; needs Docker
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

lock: $(VENV)/.ready ## lock requirements by hash; those already locked stay, but for `make lock UPGRADE=1`
	$(COMPILE) pyproject.toml --universal --python-version 3.13 -o requirements/image.txt
	$(COMPILE) pyproject.toml --universal --python-version 3.11 --extra host --group dev -o requirements/dev.txt
	$(COMPILE) --universal --python-version 3.11 --group site -o requirements/site.txt
	for name in builds builds-older; do \
		$(COMPILE) requirements/$$name.in --only-binary :all: --python-version 3.9 \
			--python-platform x86_64-manylinux_2_28 -o requirements/$$name.txt || exit; \
	done

package: $(VENV)/.ready ## the wheel and the sdist of manywheels itself, in dist/
	$(BIN)/uv build --out-dir dist

clean:
	rm -rf $(VENV) dist site examples/spam/dist

# uv, itself locked by hash, fills the environment; the package is installed in place.
$(VENV)/.ready: $(SOURCES)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "manywheels needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt >$(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# Apart: what makes the site is nothing that the program or its tests need.
$(VENV)/site/.ready: requirements/site.txt $(VENV)/.ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/site
	$(BIN)/uv pip install --quiet --python $(VENV)/site/bin/python --require-hashes -r requirements/site.txt
	touch $@

# What the tests build projects with; they ask no index for it.
$(VENV)/wheels/.ready: requirements/builds.txt requirements/builds-older.txt $(VENV)/.ready
	rm -rf $(VENV)/wheels
	for name in builds builds-older; do \
		$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
			$(ANY_PYTHON) --dest $(VENV)/wheels -r requirements/$$name.txt || exit; \
	done
	touch $@
