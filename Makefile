# tripoint: run, test, check. Each target prepares what it needs: Python 3.11 or newer with venv is enough.
#
#   make run     a server on this machine, data in ./data (ARGS="--config FILE" and so on)
#   make test    every test; real clients that are found on this machine take part (PYTEST="tests/irc -k JOIN")
#   make check   style, types, the rules of the tree, the index of specifications, generated files
#   make docs    write the generated pages again
#   make peers   install the JavaScript clients for tests/interop (needs node and npm) matrix-synapse for tests/agreement, and Sydent
#   make soak    the long versions of the randomised and fault tests
#   make fuzz    each fuzz harness for FUZZ_S seconds
#   make lock    pin requirements/*.in again (UPGRADE=1 for newer versions)
#   make clean   remove what was installed and built; never ./data

# The system's own Python where it is new enough and has venv: distributions build theirs with profile-guided optimisation,
# and the server takes a tenth to a fifth less CPU with it than with one that was built without.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary=:all:
FUZZ_S ?= 20
JS := tests/interop/js
LOUNGE := tests/interop/lounge
SYNAPSE := .peers/synapse
SYDENT := .peers/sydent
# TRIPOINT_SPECS=FOLDER: where the texts of the specifications lie; some tests read vectors from them.

.PHONY: run test check docs peers soak fuzz lock clean

run: $(VENV)/.run
	$(BIN)/tripoint run $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST)

check: $(VENV)/.test
	$(BIN)/ruff check src tests tools bench
	$(BIN)/mypy --strict -p tripoint
	$(BIN)/mypy --strict tools
	$(BIN)/python -m tools.import_rule
	$(BIN)/python -m tools.pure_rule
	$(BIN)/python -m tools.layout_rule
	$(BIN)/python -m tools.word_rule
	$(BIN)/python -m tools.rows_rule
	$(BIN)/python -m tools.specs_index
	$(BIN)/python -m tools.generate --check

docs: $(VENV)/.test
	$(BIN)/python -m tools.generate

peers: $(JS)/node_modules/.installed $(LOUNGE)/node_modules/.installed $(SYNAPSE)/.installed $(SYDENT)/.installed

soak: $(VENV)/.test
	TRIPOINT_HYPOTHESIS=soak $(BIN)/python -m pytest -m "soak or not interop" --timeout=7200 $(PYTEST)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tools.fuzz $(FUZZ_S)

# One file after the other: each is held to the versions of those before it.
lock: $(VENV)/.test
	cd requirements && for name in run build dev interop fuzz synapse sydent; do \
	  ../$(BIN)/python -m piptools compile --quiet $(if $(UPGRADE),--upgrade) --generate-hashes --allow-unsafe \
	    --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	    --output-file $$name.txt $$name.in || exit 1; \
	done

clean:
	rm -rf $(VENV) .peers $(JS)/node_modules $(LOUNGE)/node_modules build dist src/*.egg-info .mypy_cache .ruff_cache .hypothesis

# The stamps: a second run installs nothing until a list of requirements changes.

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit("tripoint needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.run: $(VENV)/.made requirements/run.txt requirements/build.txt pyproject.toml
	$(INSTALL) -r requirements/run.txt -r requirements/build.txt
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.test: $(VENV)/.run requirements/dev.txt requirements/interop.txt
	$(INSTALL) -r requirements/dev.txt -r requirements/interop.txt
	touch $@

$(VENV)/.fuzz: $(VENV)/.test requirements/fuzz.txt
	$(INSTALL) -r requirements/fuzz.txt
	touch $@

%/node_modules/.installed: %/package.json %/package-lock.json
	cd $* && npm ci --no-audit --no-fund --ignore-scripts
	touch $@

$(SYNAPSE)/.installed: requirements/synapse.txt
	$(PYTHON) -m venv --clear $(SYNAPSE)
	$(SYNAPSE)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary=:all: -r $<
	touch $@

$(SYDENT)/.installed: requirements/sydent.txt requirements/sydent-itself.txt
	$(PYTHON) -m venv --clear $(SYDENT)
	for list in $^; do \
	  $(SYDENT)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: \
	    -r $$list || exit 1; \
	done
	touch $@
