# The same commands here and in CI. Needs Python 3.11 to 3.13 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13)
BIN := .venv/bin
# Python compiles a module to bytecode when it is first imported. pip would compile all of torch's, which takes a minute.
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
# Test processes. Each has one thread, as torch's own threads would fight over the cores.
WORKERS ?= 2
# Seconds of each target of `make fuzz`.
SECONDS ?= 60

.PHONY: help demo test kernels properties fuzz lint install lock clean

help:
	@echo "make demo      install, then hands with skeletons on them and their errors, on one page, in minutes"
	@echo "make install   create .venv with exact versions of everything"
	@echo "make test      install, then check style, types, layers and run the tests"
	@echo "make properties  draw 1,000 new examples of each property of tests/properties"
	@echo "make fuzz SECONDS=60   install atheris, then try damaged files on every reader, this long each"
	@echo "make lint      only style, types and layers"
	@echo "make lock      write requirements.lock anew, after a change of constraints.txt; needs uv"
	@echo "make clean     remove .venv and caches"

install: .venv/installed

# The digest of each downloaded file is compared with requirements.lock. torch is installed at the same time, without a
# digest, since each kind of machine has its own build of it.
.venv/installed: pyproject.toml constraints.txt requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/it."; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps --constraint constraints.txt torch & torch=$$!; \
		$(PIP) --require-hashes --no-deps --requirement requirements.lock; locked=$$?; \
		wait $$torch && exit $$locked
	$(PIP) --no-build-isolation --constraint constraints.txt --editable '.[dev]'
	touch $@

lock:
	printf 'hatchling\neditables\n' | uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 \
		--constraint constraints.txt --generate-hashes --no-annotate --no-header --quiet \
		| awk '/^[a-z]/ { kept = !/^(torch|triton|cuda-|nvidia-)/ } kept' > requirements.lock

demo: install
	$(BIN)/crossnets demo

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports

# Each of many processes would compile all modules again where the environment forbids Python to keep bytecode.
demo test kernels: export PYTHONDONTWRITEBYTECODE =

# Compiled once here and not by each test process at the same time. The check of style and types leaves a core idle.
test: install
	$(MAKE) --jobs 2 lint kernels
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal --durations 5

kernels: install
	folder=$$(mktemp -d) && $(BIN)/crossnets synthesize --as recording --frames 2 --clutter --out $$folder/hands && rm -r $$folder

properties: install
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/properties --hypothesis-profile many --timeout 3600 --numprocesses $(WORKERS)

# Where atheris has no wheel, inputs are changed without regard to the code that they reach.
fuzz: install
	$(PIP) --only-binary atheris --constraint constraints.txt --editable '.[fuzz]' || true
	OMP_NUM_THREADS=1 $(BIN)/python scripts/fuzz.py --seconds $(SECONDS) --out fuzz

clean:
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis
