# make run    install into .venv, start the services and the daemon over drop_zones/
# make test   install what the tests need, and run all of them
# make check  lint, types, import contracts, clients outside of the session pool
# make image  the container image dropzone
# make sbom   what the image is made of, and all licences, into dist/
# make .env   passwords for compose.yaml
# make chaos  stop the daemon before every one of its system calls, cut the power there,
#             and storms; takes hours. SEED=1 repeats; FILES=5000 KILLS=200 SECONDS=1800
#             are a storm's size and its time to settle; STRIDE=8 takes
#             each eighth call; TESTS=-kstorm takes a part
# make screenshots  those in docs/, taken in Chromium
# make soak   two daemons for an hour (MINUTES=60), restarted, reloaded, their servers killed

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough; name another with: make PYTHON=...
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install \
	--constraint constraints.txt

.PHONY: run test check chaos soak screenshots format lock locks image sbom clean

run: $(VENV)/.installed
	@exec $(BIN)/dropzone run

# What a few tests use of the system; without it those are skipped and say so. Of no
# package the server is started: that is what the run level is for.
DEBIAN := faketime mmdebstrap systemd-container buildah podman runc catatonit prometheus \
	chromium

test: $(VENV)/.installed-dev
	@dpkg --status $(DEBIAN) >/dev/null 2>&1 || { test "$$(id -u)" = 0 \
		&& RUNLEVEL=1 apt-get install --quiet=2 --yes --no-install-recommends $(DEBIAN) \
		>/dev/null 2>&1; } \
		|| echo "Not installed, so some tests are skipped: apt-get install $(DEBIAN)"
	@$(BIN)/python -m pytest -n 3 --dist loadscope

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dropzone audit daemon benchmarks tests
	$(BIN)/hadolint Dockerfile
	$(BIN)/python image/sbom.py requirements.lock 3.12 dist/sbom.cdx.json $(LEFT_OUT) >/dev/null

chaos: $(VENV)/.installed-dev
	@CHAOS=full CHAOS_SEED=$(SEED) CHAOS_FILES=$(FILES) CHAOS_KILLS=$(KILLS) \
		CHAOS_SECONDS=$(SECONDS) CHAOS_STRIDE=$(STRIDE) $(BIN)/python -m pytest -rP $(TESTS) tests/chaos

soak: $(VENV)/.installed-dev
	@rm -rf dist/soak
	@$(BIN)/python tests/chaos/soak.py --minutes $(or $(MINUTES),60) --out dist/soak

screenshots: $(VENV)/.installed-dev
	@PYTHONPATH=tests $(BIN)/python tests/browser/screenshots.py --out $(or $(OUT),docs/screenshots)

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What MLflow names for the training of models and for data frames on disk, and never
# imports here: half of the image's size. `pip install` brings them all the same.
LEFT_OUT := contourpy cycler docker fonttools gunicorn huey joblib kiwisolver matplotlib \
	narwhals pillow prettytable pyarrow pyparsing scikit-learn scipy skops threadpoolctl

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --no-header \
	--no-annotate --no-emit-index-url --quiet

# Every version in use, for all supported Pythons; those of the image with their hashes.
lock: $(VENV)/.installed-dev
	$(PIP) uv
	$(COMPILE) pyproject.toml --extra dev --upgrade --output-file constraints.txt
	$(MAKE) locks

locks: $(VENV)/.installed-dev
	$(PIP) uv
	$(COMPILE) pyproject.toml --generate-hashes --constraint constraints.txt \
		$(LEFT_OUT:%=--no-emit-package %) --output-file requirements.lock
	echo hatchling | $(COMPILE) - --generate-hashes --constraint constraints.txt \
		--output-file image/build.lock

# With docker, podman or buildah; name another with: make image DOCKER=...
DOCKER ?= $(shell command -v docker || command -v podman || command -v buildah)

image:
	@test -n "$(DOCKER)" || { echo "Install docker, podman or buildah." >&2; exit 2; }
	$(DOCKER) build $(if $(findstring docker,$(notdir $(DOCKER))),,--format docker) \
		--build-arg VERSION=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
		--tag dropzone .

# What the image is made of: dist/sbom.cdx.json (CycloneDX), and the licences of the
# default install. Fails at a licence that is not on the list in image/licences.py.
sbom: $(VENV)/.installed-dev
	@mkdir -p dist
	@$(BIN)/python image/sbom.py requirements.lock 3.12 dist/sbom.cdx.json $(LEFT_OUT) \
		> dist/licences.txt && echo "dist/sbom.cdx.json dist/licences.txt"

# Passwords for compose.yaml, made once; whoever can read the file can read the data.
.env:
	@umask 077 && { \
		for name in POSTGRES_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do \
			echo "$$name=$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"; done; \
		echo "DROPZONE_UID=$$(id -u)"; echo "DROPZONE_GID=$$(id -g)"; } > $@

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "dropzone needs Python 3.11 or newer." \
		"Install it, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is incomplete." \
		"On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing dropzone into $(VENV) (a minute or two the first time)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing dropzone into $(VENV), with what its tests need (two minutes)"
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) dist
