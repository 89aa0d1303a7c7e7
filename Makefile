# GNU make and Python 3.10 to 3.14 are all that is needed: everything else is installed into
# .venv/ by the targets that use it.

PYTHON ?= python3
BASE := .venv/base
DEV := .venv/dev

CHECK_PYTHON = @$(PYTHON) -c 'import sys; v = sys.version_info; (3, 10) <= v < (3, 15) or sys.exit( \
	f"$(PYTHON) is Python {v[0]}.{v[1]}: name one of 3.10 to 3.14, as in make PYTHON=python3.12 demo")'

# What an installed package is made from; the code itself is used where it lies.
RECIPE := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo serve test check format stubs docs wheels clean

help:  ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(BASE)/installed  ## Stream a bundled recording to a server and see it turn into text.
	$(BASE)/bin/ossicle demo

serve: $(BASE)/installed  ## Live captions at http://127.0.0.1:8080, and gRPC on port 50051, until Ctrl-C.
	$(BASE)/bin/ossicle serve --http 8080

test: $(DEV)/installed  ## Run the tests.
	$(DEV)/bin/pytest --numprocesses 2 --dist loadfile

check: $(DEV)/installed  ## Check style, types, contract and stubs.
	$(DEV)/bin/ruff check
	$(DEV)/bin/ruff format --check
	mkdir -p build/types/ossicle
	ln -sfn ../../../data ../../../model ../../../service ../../../proto/ossicle/speech build/types/ossicle
	$(DEV)/bin/mypy
	$(DEV)/bin/buf lint proto
	$(DEV)/bin/python proto/generate.py --check
	$(DEV)/bin/python proto/reference.py --check

format: $(DEV)/installed  ## Format the code and sort the imports.
	$(DEV)/bin/ruff check --fix
	$(DEV)/bin/ruff format

stubs: $(DEV)/installed  ## Generate the gRPC stubs and docs/grpc.md anew from the contract.
	$(DEV)/bin/python proto/generate.py
	$(DEV)/bin/python proto/reference.py

docs: $(DEV)/installed  ## Write docs/commands.md anew from what the commands say of themselves.
	$(DEV)/bin/typer ossicle.service.cli utils docs --name ossicle \
		--title "Every command and option" --output docs/commands.md

wheels:  ## Check that the base install needs no compiler anywhere (asks the package index).
	$(PYTHON) tests/packaging/check_wheels.py

clean:  ## Remove environments, builds and caches; training runs stay.
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find data model service proto tests -name __pycache__ -prune -exec rm -rf {} +

$(BASE)/installed: $(RECIPE)
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(DEV)/installed: $(RECIPE)
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
