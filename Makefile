# roots from a fresh clone: `make quickstart` trains a small language model, `make` lists the rest.
# For Linux and macOS, GNU make 3.81 or later.

# ARGS="…" is handed on to the command of the target.
ARGS =

# Processes that share the tests, file by file; each takes up to 2 GB. JOBS=0 runs them in one.
JOBS = 2
PYTEST = $(VENV_PYTHON) -m pytest -n $(JOBS) --dist loadfile

VENV_PYTHON = .venv/bin/python
PIP = $(VENV_PYTHON) -m pip install --quiet --no-input --disable-pip-version-check

# torch has indexes of its own, one per build. They carry other versions of its small dependencies, so
# only torch's own pin applies there; the next stage sets the others right.
ifdef TORCH_INDEX
TORCH = --index-url '$(TORCH_INDEX)' "$$(grep '^torch==' constraints.txt)"
else
TORCH = --constraint constraints.txt torch
endif

define SIZES
To download: about 0.4 GB (1.5 GB on disk, two to five minutes) with a CPU build of torch. On Linux the
usual build brings CUDA along and is several GB. For a machine without a GPU:
    make quickstart TORCH_INDEX=…    the index that pytorch.org, "Get started", shows for CPU
endef

define PIP_HELP

pip did not finish; its own message is above. The usual reasons: the package index is out of reach
(behind a proxy set HTTPS_PROXY; a mirror goes into PIP_INDEX_URL); the disk is full (df -h . /tmp: 2 GB
are needed with a CPU build of torch, about 10 GB with CUDA); or there is no torch for this Python and
this machine (none is made for Intel Macs; PYTHON=python3.12 takes another Python, TORCH_INDEX=…
another index). Call make again: it goes on where it stopped.
endef
export SIZES PIP_HELP

# Images of containers often set it; then each of the many processes that tests start compiles roots anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL = help
.PHONY: help quickstart setup test test-full test-deepspeed test-fp8 check clean venv

help:
	@echo 'make quickstart   make .venv and train a small language model on this machine'
	@echo 'make setup        make .venv with everything for development'
	@echo 'make check        lint, format, types, import floors'
	@echo 'make test         the tests, without the slow ones'
	@echo 'make test-full    all tests; those for a GPU or a network skip where there is none'
	@echo 'make test-deepspeed  those that need DeepSpeed (Linux), in .venv-deepspeed, which is made for them'
	@echo 'make test-fp8     those that need torchao, in .venv-fp8'
	@echo 'make clean        remove .venv and caches; runs/ and corpora/ stay'
	@echo
	@echo 'ARGS="…"          is handed on:  make quickstart ARGS="--trainer.max_steps 50"'
	@echo 'JOBS=2            processes that share the tests'
	@echo 'PYTHON=…          the Python to use, where the first suitable one is not the right one'
	@echo 'TORCH_INDEX=…     the index to take torch from, and nothing else'

quickstart: venv
	@$(MAKE) -s .venv/.base
	.venv/bin/roots fit --config configs/run/quickstart.yaml $(ARGS)

setup: venv
	@$(MAKE) -s .venv/.dev

test: setup
	$(PYTEST) -m 'not slow and not deepspeed' $(ARGS)

test-full: setup
	@$(MAKE) -s .venv/.full
	$(PYTEST) -m '' $(ARGS)

# transformers imports DeepSpeed and torchao wherever they are installed, so they stay apart: each in
# an environment of its own that sees all of .venv. DeepSpeed compiles nothing for these tests.
test-deepspeed: setup
	@$(MAKE) -s .venv-deepspeed/.done
	.venv-deepspeed/bin/python -m pytest -m deepspeed tests/distributed/test_deepspeed.py $(ARGS)

test-fp8: setup
	@$(MAKE) -s .venv-fp8/.done
	.venv-fp8/bin/python -m pytest tests/precision tests/fit/test_float8_run.py $(ARGS)

# All four, whatever the first one says.
check: setup
	@failed=0; \
	for command in 'ruff check' 'ruff format --check' mypy lint-imports; do \
	    echo "$$command"; .venv/bin/$$command || failed=1; \
	done; \
	exit $$failed

clean:
	@if [ -d .venv ] && [ ! -f .venv/.made ]; then echo '.venv was made by hand and stays.'; else rm -rf .venv; fi
	rm -rf .venv-deepspeed .venv-fp8
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find roots tests experiments configs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The environment. It may be made anew, so the stamps below are looked at by a second make.
venv:
	@sh .ci/venv

# A stage is stamped when pip has finished; one that was interrupted is repeated.
.venv/.torch: pyproject.toml constraints.txt
	@[ -e $@ ] || echo "$$SIZES"
	@echo '[1/2] torch'
	@$(PIP) $(TORCH) || { echo "$$PIP_HELP" >&2; exit 1; }
	@touch $@

.venv/.base: .venv/.torch
	@echo '[2/2] roots and what it needs'
	@$(PIP) --constraint constraints.txt --editable . || { echo "$$PIP_HELP" >&2; exit 1; }
	@touch $@

.venv/.dev: .venv/.torch
	@echo '[2/2] roots, what it needs, and the tools for its development'
	@$(PIP) --constraint constraints.txt --editable '.[dev]' || { echo "$$PIP_HELP" >&2; exit 1; }
	@touch .venv/.base $@

# Ray is large, and no test that runs by default needs it.
.venv/.full: .venv/.dev
	@echo 'Ray, for make test-full'
	@$(PIP) --constraint constraints.txt --editable '.[ray]' || { echo "$$PIP_HELP" >&2; exit 1; }
	@touch $@

# The environment of an extra, beside what .venv has.
.venv-%/.done: .venv/.dev
	@echo 'the extra $*, beside what .venv has'
	@$(VENV_PYTHON) -m venv --clear .venv-$*
	@$(VENV_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    >"$$(.venv-$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dev.pth"
	@.venv-$*/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[$*]' || { echo "$$PIP_HELP" >&2; exit 1; }
	@touch $@
