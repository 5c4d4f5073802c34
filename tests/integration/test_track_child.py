"""The process that speaks to MLflow, alone."""

import json
import socket
import subprocess
import sys
from pathlib import Path


def test_it_ends_with_the_daemon_in_the_middle_of_a_request(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = {"directory": str(tmp_path), "tracking_uri": uri, "timeout": 50.0}
        with subprocess.Popen(
            [sys.executable, "-m", "dropzone.track_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as child:
            assert child.stdin is not None
            child.stdin.write(json.dumps({"settings": settings, "check": 1}).encode())
            child.stdin.write(b"\n")
            child.stdin.flush()
            # It waits for an answer that never comes.
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(1)
                child.stdin.close()
                assert child.wait(10) == 1
