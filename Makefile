# The two that everybody needs: `make demo` and `make test`. Each sets up what it needs, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml $(wildcard requirements/*.txt)

.PHONY: demo test check format docs pictures lock bench package clean

demo: $(VENV)/.ready ## build examples/spam for every CPython on this machine
	$(BIN)/manywheels build examples/spam --output-dir examples/spam/dist

test: $(VENV)/.ready ## run the tests; those that need Docker, act or Chromium are skipped where these are missing
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.ready ## linters and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m pytest --quiet tests/unit/test_root_opens.py
	$(BIN)/python docs/tables.py --check
	$(BIN)/python docs/gitlab.py --check

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready ## write the generated tables of README.md and docs/ anew
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/checks.py
	$(BIN)/python docs/gitlab.py

pictures: $(VENV)/.ready ## take the README's pictures of a real run anew; needs Chromium and npm
	$(BIN)/python docs/pictures.py tests/projects/fails_on_311

bench: $(VENV)/.ready ## side by side with cibuildwheel; needs Docker
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

lock: $(VENV)/.ready ## resolve the hash-locked requirements anew
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --generate-hashes --no-emit-index-url --universal \
		--python-version 3.13 --custom-compile-command "make lock" -o requirements/image.txt
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --generate-hashes --no-emit-index-url --universal \
		--python-version 3.11 --extra host --group dev --custom-compile-command "make lock" -o requirements/dev.txt

package: $(VENV)/.ready ## the wheel and the sdist of manywheels itself, in dist/
	$(BIN)/uv build --out-dir dist

clean:
	rm -rf $(VENV) dist examples/spam/dist

# uv, itself locked by hash, fills the environment; the package is installed in place.
$(VENV)/.ready: $(SOURCES)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "manywheels needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt >$(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
