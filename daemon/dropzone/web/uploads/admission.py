"""Whether another upload may begin: how many there are, and the room on the disk."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from dropzone import fsops
from dropzone.text import display, size
from dropzone.uploads.record import State, Wanted
from dropzone.web.problems import Problem
from dropzone.zone_service import ZoneService

#: Uploads that are not finished, of one caller and of all, in one zone.
MOST_OF_ONE = 200
MOST = 1000
_WAIT = "Finish some, or end them with DELETE; GET /api/v1/uploads lists yours."


@dataclass(frozen=True, slots=True)
class Space:
    """The room on a zone's disk, as intake reckons it too."""

    service: ZoneService

    def check(self) -> None:
        """Check that bytes may be written at all.

        Raises:
            Problem: what the daemon keeps free for its own work has been reached.

        """
        if self._free() < 0:
            _, floor = self.service.room_rules
            raise Problem(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"The zone's disk is full: the last {size(floor)} of it stay free "
                "(limits.free_megabytes). What came is kept.",
                "Free some space on it; then the upload goes on where it was.",
            )

    def promised(self, unfinished: Sequence[State]) -> int:
        """Return how many bytes these uploads of the zone will still need."""
        return sum(
            state.upload.wanted.length
            - state.offset
            + self._growth(state.upload.wanted)
            for state in unfinished
        )

    def check_for(self, wanted: Wanted, promised: int) -> None:
        """Check that a file fits, with all that is promised of the disk already.

        Raises:
            Problem: it does not.

        """
        needs = wanted.length + self._growth(wanted)
        left = max(0, self._free() - promised)
        if needs > left:
            raise Problem(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"The file needs {size(needs)} on the zone's disk, with what is stored "
                f"and indexed of it, and {size(left)} can be used.",
                "Free some space on it, or wait until other uploads are done.",
            )

    def _free(self) -> int:
        _, floor = self.service.room_rules
        status = self.service.folders.disk_status()
        return status.f_bavail * status.f_frsize - floor

    def _growth(self, wanted: Wanted) -> int:
        growth, _ = self.service.room_rules
        return growth.of(wanted.length, min(wanted.length, growth.text_bytes))


def check_count(wanted: Wanted, others: Sequence[State]) -> None:
    """Check that one more may begin beside the unfinished ones.

    Raises:
        Problem: there are too many.

    """
    mine = sum(state.upload.wanted.owner == wanted.owner for state in others)
    if mine >= MOST_OF_ONE or len(others) >= MOST:
        told = f"You have {mine} unfinished uploads, and all together {len(others)}"
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{told}; {MOST_OF_ONE} and {MOST} are allowed.",
            _WAIT,
            headers={"retry-after": "60"},
        )


def check_place(root: Path, path: bytes) -> None:
    """Check that folders can be where the path has them.

    Raises:
        Problem: something else has the name of one of them.

    """
    folder = os.path.dirname(path)
    try:
        with fsops.opened(os.open(root / "input", fsops.DIRECTORY)) as area:
            os.close(fsops.open_directory(area, folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Problem(
            HTTPStatus.CONFLICT,
            f"{display(folder)} in input/ is no folder that a file can be put into: "
            f"{error.strerror}.",
            "Choose another folder.",
        ) from error
