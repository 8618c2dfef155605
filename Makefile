# make demo    the whole way of a reading, on emulated nodes (ARGS="--duration 60" and so on)
# make test    every check there is; one alone: .venv-tools/bin/tox run -e unit
# make hil-renode  all there is for Renode; RENODE=/path/to/renode names it (docs/renode.md)
# make bench   speed and memory, as docs/benchmarks.md has them
# make install the commands for yourself, in .venv
# make deb     Debian packages of gateway, collector and tools, in dist (docs/operator.md)
# make deb-test  these in a fresh Debian: install, run, upgrade, go back, remove; as root, 10 minutes
# make format  let ruff correct what it can
# make clean   remove everything that is not in the repository
#
# Needs git, make and Python 3.11 or later with venv. Nothing is installed outside this folder,
# except programs of Debian by `make test` where it may (tests/tools/debian.sh).

PYTHON ?= python3
TOX_VERSION = 4.67.15
TOOLS = .venv-tools
TOX_UV_VERSION = 1.37.1
TOX = $(TOOLS)/bin/tox
READY = $(TOOLS)/tox-$(TOX_VERSION)-uv-$(TOX_UV_VERSION)
# uv reads no pip.conf: the mirror that stands there is written down for it.
export UV_DEFAULT_INDEX ?= $(file <$(TOOLS)/index)
ARGS ?=

.DEFAULT_GOAL = help
.PHONY: help demo test hil-renode bench install deb deb-test format clean programs python

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# The demo is started directly, not by tox: it owns the terminal, and Ctrl-C reaches it once.
demo: $(READY)
	@$(TOX) run --quiet --notest -e demo
	@.tox/demo/bin/tianfu-gateway demo $(or $(ARGS),--duration 20 --json)

test: $(READY) programs
	@$(TOX) run-parallel --quiet --parallel 2 --parallel-no-spinner --notest
	@$(TOX) run-parallel --skip-pkg-install --parallel 3 --parallel-no-spinner -m beside; \
	    beside=$$?; $(TOX) run --skip-pkg-install -m alone && exit $$beside

hil-renode: $(READY) programs
	@$(TOX) run --quiet -e hil-renode -- $(ARGS)

bench: $(READY) programs
	@$(TOX) run --quiet -e bench -- $(ARGS)

install: python
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    --editable '.[hil,station,console]'
	@echo "Installed in .venv/bin: tianfu-gateway tianfu-node tianfu-hil"

# Built with Debian's own Python, for which the wheels are locked.
deb:
	@$(or $(wildcard /usr/bin/python3.11),$(error the packages are built on Debian 12)) -m gateway_agent.packaging.deb $(ARGS)

deb-test: $(READY) programs
	@$(TOX) run --quiet -e deb -- $(ARGS)

format: $(READY)
	@$(TOX) run --quiet -e format

programs:
	@tests/tools/debian.sh

clean:
	rm -rf .tox $(TOOLS) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
	    .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or later is needed, '$(PYTHON)' is" `$(PYTHON) --version 2>&1`; \
	    echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments."; \
	    echo "On Debian and Ubuntu type: sudo apt-get install --yes python3-venv"; exit 1; } >&2

$(READY): | python
	@echo "Setting up tox $(TOX_VERSION) in $(TOOLS)"
	@rm -rf $(TOOLS)
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check \
	    tox==$(TOX_VERSION) tox-uv==$(TOX_UV_VERSION)
	@$(TOOLS)/bin/pip config get global.index-url >$(TOOLS)/index 2>/dev/null || true
	@touch $@
