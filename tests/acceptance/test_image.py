"""The image, built and run as a careful person runs it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from acceptance.containers import CONFINED, IMAGE, Container, Podman, container
from daemons import wait_for

pytestmark = pytest.mark.timeout(1200)

OURS = 10001
# A zone that cannot be served as it is.
UNFIT = 78
HEALTH_SECONDS = 5.0
# On the stand-in, which is 100 MB larger than the real base.
MOST_BYTES = 1_100_000_000


def processes_of(served: Container) -> dict[int, str]:
    """Return the numbers, as the host counts, and the command lines."""
    told = served.podman("top", served.name, "hpid", "args").stdout.splitlines()
    rows = (line.split(maxsplit=1) for line in told[1:])
    return {int(row[0]): row[1] for row in rows if len(row) == 2 and row[0].isdigit()}


def daemon_of(served: Container) -> int:
    """Return the daemon, which is a child of process 1."""
    one = int(served.state("Pid"))
    return next(
        number
        for number, line in processes_of(served).items()
        if line.split()[-2:] == ["/opt/dropzone/bin/dropzone", "run"] and number != one
    )


def test_a_dropped_file_is_found_and_outlives_a_stop(podman: Podman, tmp_path: Path):
    with container(podman, tmp_path / "zone", OURS, "served") as served:
        begun = time.monotonic()
        served.start()
        print(f"healthy after {time.monotonic() - begun:.1f} s")
        served.drop("heron.txt", "A grey heron crosses the river.")
        served.finds("heron river", "heron.txt")
        check_confinement(served)
        check_health(served)
        check_orphans_are_reaped(served)

        begun = time.monotonic()
        podman("stop", "--time=10", served.name)
        took = time.monotonic() - begun
        assert served.state("ExitCode") == "0", served.logs()[-3000:]
        assert took < 10
        last = json.loads(served.logs().strip().splitlines()[-1])
        assert last["event"] == "stopped"
        assert not served.is_healthy()

        podman("start", served.name)
        served.wait_until_healthy()
        served.finds("heron river", "heron.txt")
        proved = served.inside("dropzone", "verify", "--deep")
        assert proved.returncode == 0, proved.stdout + proved.stderr
        assert "Nothing is lost" in proved.stdout
        assert (served.zone / "processed" / "heron.txt").exists()
        print(podman("image", "ls", "--format={{.Repository}} {{.Size}}").stdout)


def check_confinement(served: Container) -> None:
    status = served.inside("cat", "/proc/1/status").stdout
    assert f"Uid:\t{OURS}" in status
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert served.inside("touch", "/opt/dropzone/x").returncode != 0
    assert "in a container" in served.inside("dropzone", "doctor").stdout


def check_health(served: Container) -> None:
    begun = time.monotonic()
    asked = served.inside("dropzone", "health", "--json")
    took = time.monotonic() - begun
    print(f"health took {took:.2f} s")
    assert json.loads(asked.stdout)["zones"][0]["healthy"] is True
    assert took < HEALTH_SECONDS


def check_orphans_are_reaped(served: Container) -> None:
    for _ in range(5):
        served.inside("sh", "-c", "(sleep 0.1 &)", check=True)
    wait_for(
        lambda: "sleep" not in " ".join(processes_of(served).values()), "orphans end"
    )
    wait_for(lambda: "Z" not in served.states_of_processes(), "no zombie is left")


def test_killed_it_comes_back_and_loses_nothing(podman: Podman, tmp_path: Path):
    with container(podman, tmp_path / "zone", OURS, "killed") as served:
        served.start()
        served.drop("owl.txt", "An owl in the barn.")
        # Once process 1, with which the kernel ends all others; once the daemon, whose
        # servers are then stopped in order.
        for victim in (lambda one: int(one.state("Pid")), daemon_of):
            # Now its Postgres runs too, which healthy does not say.
            served.finds("owl barn", "owl.txt")
            before = served.state("StartedAt")
            os.kill(victim(served), signal.SIGKILL)
            # What a restart policy does; podman 4.3 now and then forgets its own.
            wait_for(
                lambda before=before: started_again(podman, served, before),
                f"it is started again: {served.logs()[-2000:]}",
            )
            served.wait_until_healthy()
        served.drop("crow.txt", "A crow on the barn.")
        served.finds("crow barn", "crow.txt")
        proved = served.inside("dropzone", "verify", "--deep")
        assert proved.returncode == 0, proved.stdout + proved.stderr
        assert "Z" not in served.states_of_processes()
        log = (served.zone / "state" / "services" / "postgres.log").read_text()
        # After the second kill Postgres was shut down, and had nothing to recover.
        assert "received fast shutdown request" in log


def started_again(podman: Podman, served: Container, before: str) -> bool:
    podman("start", served.name, check=False)
    return served.state("StartedAt") != before


@pytest.mark.parametrize("owner", [4711, 0])
def test_a_wrong_user_is_told_with_the_fix(podman: Podman, tmp_path: Path, owner: int):
    with container(podman, tmp_path / "zone", owner, "mapped") as served:
        mount = f"--volume={served.zone}:/srv/dropzone"
        refused = podman("run", "--rm", *CONFINED, mount, IMAGE, check=False)
        assert refused.returncode == UNFIT, refused.stderr
        told = refused.stderr
        assert f"User {OURS}:{OURS} may not write to /srv/dropzone" in told
        assert f"belongs to {owner}:{owner}" in told
        assert f"chown -R {OURS}:{OURS} FOLDER" in told
        assert (f"--user {owner}:{owner}" in told) == (owner != 0)
        assert os.listdir(served.zone) == []
        if owner == 0:
            return
        # A user whom no file in the image knows, as the sentence says.
        served.start(f"--user={owner}:{owner}")
        served.drop("kite.txt", "A kite above the field.")
        served.finds("kite field", "kite.txt")
        assert served.zone.joinpath("processed", "kite.txt").exists()
        podman("stop", "--time=10", served.name)
        assert served.state("ExitCode") == "0"
        again = podman("run", "--rm", *CONFINED, mount, IMAGE, check=False)
        assert again.returncode == UNFIT
        assert f"--user {owner}:{owner}" in again.stderr


def test_what_the_image_says_of_itself(podman: Podman):
    told = json.loads(podman("image", "inspect", IMAGE).stdout)[0]
    config = told["Config"]
    assert config["User"] == f"{OURS}:{OURS}"
    assert config["Entrypoint"] == ["dropzone"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.version"] == "0.0.test"
    assert "ORT_DISABLE_TELEMETRY=1" in config["Env"]
    assert told["Healthcheck"]["Test"] == ["CMD", "dropzone", "health"]
    run = ("run", "--rm", "--network=none", *CONFINED)
    listed = podman(*run, "--entrypoint=cat", IMAGE, "/opt/dropzone/share/licences.txt")
    assert "dropzone-daemon\t" in listed.stdout
    assert "mlflow\t" in listed.stdout
    assert "AGPL" not in listed.stdout
    # Without a daemon the container is not healthy, and the sentence says why.
    ill = podman(*run, IMAGE, "health", check=False)
    assert (ill.returncode, ill.stdout) == (1, "No daemon serves zone default.\n")
    assert told["Size"] < MOST_BYTES
