"""Images that stand in for those of compose.yaml which cannot be pulled here.

Each is made of our own image, which holds the same programs, and behaves as the real
one does where compose.yaml counts on it: user, volume, entrypoint, environment.
"""

from pathlib import Path

from acceptance.containers import IMAGE, Podman

# What the entrypoint of the official image does with an empty folder, in short.
_POSTGRES_START = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 \\
        $POSTGRES_INITDB_ARGS
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl -w start -o "-c listen_addresses= -c unix_socket_directories=/tmp"
    createdb --host=/tmp --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -w stop
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
"""
_POSTGRES = """
FROM {image}
USER 0:0
# Below /run nothing can be made here while an image is built.
RUN rm /var/run \\
 && echo 'postgres:x:999:999::/tmp:/bin/sh' >> /etc/passwd \\
 && install --directory --owner=999 --group=999 --mode=0700 /var/lib/postgresql/data \\
 && install --directory --owner=999 --group=999 --mode=1777 /var/run/postgresql
COPY start /usr/local/bin/start
ENV LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data
ENV PATH={programs}:/usr/local/bin:/usr/bin:/bin
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/start"]
CMD []
"""
_S3 = """
FROM {image}
USER 0:0
WORKDIR /data
HEALTHCHECK NONE
ENTRYPOINT ["rclone"]
CMD []
"""


def make(podman: Podman, postgres: str, s3: str) -> None:
    """Make both images under the names that compose.yaml has for them."""
    programs = podman(
        *("run", "--rm", "--entrypoint=python3", IMAGE, "-c"),
        "from dropzone.embedded import postgres; print(postgres.binaries())",
    ).stdout.strip()
    _build(podman, postgres, _POSTGRES.format(image=IMAGE, programs=programs))
    _build(podman, s3, _S3.format(image=IMAGE))


def _build(podman: Podman, name: str, recipe: str) -> None:
    folder = Path(podman.folder / "stand-in")
    folder.mkdir(exist_ok=True)
    (folder / "start").write_text(_POSTGRES_START)
    (folder / "start").chmod(0o755)
    (folder / "Dockerfile").write_text(recipe)
    podman.run(
        (
            *("buildah", "build", "--isolation=chroot", "--network=host"),
            *("--pull-never", "--format=docker", "--layers=false"),
            *(f"--tag={name}", folder),
        ),
        seconds=300,
    )
