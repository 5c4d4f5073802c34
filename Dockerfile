# The image of dropzone. Without settings it runs on its own Postgres and S3, in the one
# folder that is mounted at /srv/dropzone. docs/operations.md tells how to run it.

ARG PYTHON=3.12
ARG BASE=docker.io/library/python:${PYTHON}-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python3 -m venv --without-pip /opt/dropzone
# The locks name every file by its hash; nothing is built from source, or looked up.
COPY requirements.lock ./
RUN python3 -m pip --python /opt/dropzone install --require-hashes --only-binary=:all: \
        --no-deps --requirement requirements.lock \
 && find /opt/dropzone -type d \( -path '*/pandas/tests' -o -path '*/numpy/*/tests' \) \
        -prune -exec rm -r {} +
COPY image/build.lock ./
RUN python3 -m pip install --require-hashes --only-binary=:all: --no-deps \
        --requirement build.lock
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
COPY systemd systemd
RUN python3 -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir wheels . \
 && python3 -m pip --python /opt/dropzone install --no-index --no-deps wheels/*.whl
# Ends the build at a licence that is unknown, or that binds whoever runs a server.
COPY image/licences.py ./
RUN mkdir -p /opt/dropzone/share \
 && /opt/dropzone/bin/python licences.py > /opt/dropzone/share/licences.txt

FROM ${BASE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="dropzone" \
      org.opencontainers.image.description="Turns every file in a drop folder into a stored S3 object, searchable chunks in Postgres and an MLflow run." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# The library gives a name to a user who has none; initdb refuses those. Debian keeps
# only the newest version of a package, so a version named here would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libnss-wrapper \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \
 && groupadd --gid 10001 dropzone \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /srv/dropzone/state \
        --shell /usr/sbin/nologin dropzone \
 && install --directory --owner=10001 --group=10001 --mode=0755 /srv/dropzone \
 && install --directory /etc/dropzone \
 && touch /etc/dropzone/is-a-container
# The base image comes without compiled modules of Python itself, and nobody may write
# there later: each command and each health check would compile them anew.
RUN python3 -m compileall -q -j 0 -x '/(site-packages|ensurepip|idlelib|lib2to3|tkinter)/' \
        /usr/local/lib/python3.*
COPY --from=build /opt/dropzone /opt/dropzone
COPY image/config.yaml /etc/dropzone/config.yaml
ENV PATH=/opt/dropzone/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/srv/dropzone/state \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /
VOLUME ["/srv/dropzone"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["dropzone", "health"]
ENTRYPOINT ["dropzone"]
CMD ["run"]
