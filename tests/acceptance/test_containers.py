"""What a killed run of these tests leaves is found by the next, and nothing else."""

import signal
import subprocess
import sys
from pathlib import Path

from acceptance import memory
from acceptance.containers import clear_abandoned
from chaos.images import in_private_mounts
from zones_helpers import needs_mounts

_RUN = """
import sys
from pathlib import Path
from acceptance import memory

owned = memory.lay(Path(sys.argv[1]), 1_000_000)
print("laid", flush=True)
sys.stdin.read()
"""


@needs_mounts
def test_memory_of_a_killed_run_is_taken_away_by_the_next(tmp_path: Path) -> None:
    folder, other = tmp_path / "of a run", tmp_path / "other"
    folder.mkdir()
    other.mkdir()

    def of_the_run() -> list[Path]:
        return [one for one in memory.abandoned() if tmp_path in one.parents]

    def killed() -> None:
        subprocess.run(["mount", "-t", "tmpfs", "images", other], check=True)  # noqa: S607
        with subprocess.Popen(
            [sys.executable, "-c", _RUN, folder],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == b"laid\n"
            for name, bound in (("graph", folder / "graph"), ("other", other)):
                (folder / name).mkdir()
                command = ["mount", "--bind", bound, folder / name]
                subprocess.run(command, check=True)
            assert not of_the_run()
            run.kill()
            assert run.wait() == -signal.SIGKILL
        assert of_the_run() == [folder]
        # Whatever else was left on this machine is not this test's.
        clear_abandoned(only=folder)
        assert not folder.exists()
        assert other.is_mount()

    in_private_mounts(killed)
