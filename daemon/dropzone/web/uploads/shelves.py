"""The uploads of all zones, for the requests: everything here waits for the disk."""

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from dropzone import disk
from dropzone.journal import Journal
from dropzone.models import Job
from dropzone.settings import Zone
from dropzone.uploads import tidying
from dropzone.uploads.record import State, Upload, Wanted
from dropzone.uploads.shelf import Shelf, names_of
from dropzone.uploads.writing import Writer
from dropzone.web import problems
from dropzone.web.api.backend import Backend
from dropzone.web.problems import Problem
from dropzone.web.uploads import admission
from dropzone.web.uploads.admission import Space

_HOUR = 3600.0
_MOST_NAMESAKES = 20


@dataclass(frozen=True, slots=True)
class Place:
    """An upload where it was found."""

    zone: Zone
    state: State

    @property
    def upload(self) -> Upload:
        return self.state.upload


class Shelves:
    """Begins, finds and ends uploads. Any thread may call it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        #: Two that begin at once must not both have the last room.
        self._beginning = threading.Lock()

    @property
    def lasting(self) -> float:
        """How long an unfinished upload waits for its next bytes, in seconds."""
        return self._backend.settings().web.uploads_expire_hours * _HOUR

    def expires_at(self, state: State) -> float | None:
        if state.upload.landed_at is not None:
            return None
        return state.ends_at(self.lasting)

    def begin(self, zone: Zone, wanted: Wanted) -> Place:
        """Begin an upload if it can be finished; an empty one lands at once.

        Raises:
            Problem: it may not begin.
            DropzoneError: the zone cannot take it.
            OSError: the disk does not take it.

        """
        space = self._space(zone)
        admission.check_place(zone.path, wanted.path)
        with self._beginning:
            try:
                self._admit(space, wanted)
            except Problem:
                # What nobody goes on with makes no one else wait.
                for one in self._on_disk_of(space):
                    tidying.tidy(one.service.zone, self.lasting)
                self._admit(space, wanted)
            upload = Shelf(zone.path).begin(wanted)
        place = Place(zone, State(upload, 0, upload.created_at))
        return self.settled(place)

    def find(self, upload_id: str, owner: str) -> Place:
        """Return the caller's upload; one that is complete is landed first.

        Raises:
            Problem: the caller has none of this name.
            OSError: it cannot be landed.

        """
        for zone in self._backend.settings().zones:
            with contextlib.suppress(FileNotFoundError):
                state = Shelf(zone.path).find(upload_id)
                if state is not None and state.upload.wanted.owner == owner:
                    return self.settled(Place(zone, state))
        raise gone()

    def mine(self, owner: str) -> list[Place]:
        """Return the caller's unfinished uploads, the oldest first."""
        found = []
        for zone in self._backend.settings().zones:
            with contextlib.suppress(FileNotFoundError):
                found += [Place(zone, state) for state in Shelf(zone.path).unfinished()]
        mine = [one for one in found if one.upload.wanted.owner == owner]
        return sorted(mine, key=lambda one: one.upload.created_at)

    def settled(self, place: Place) -> Place:
        """Return it as it is once it has landed, if it is complete."""
        upload = place.upload
        if upload.landed_at is not None or not place.state.complete:
            return place
        settled = Shelf(place.zone.path).settle(upload)
        return place if settled is None else self._landed(place.zone, settled)

    def writer(self, place: Place) -> Writer:
        """Return what adds to it; see ``Shelf.writer``."""
        room: Callable[[], None] = self._space(place.zone).check
        return Shelf(place.zone.path).writer(place.upload, room=room)

    def land(self, place: Place, writer: Writer) -> Place:
        """Put a complete file into input/; see ``Shelf.land``."""
        upload = Shelf(place.zone.path).land(place.upload, writer)
        return self._landed(place.zone, upload)

    def remove(self, place: Place) -> bool:
        return Shelf(place.zone.path).remove(place.upload)

    def job_of(self, place: Place) -> Job | None:
        """Return the job that the landed file became, once it is taken."""
        upload = place.upload
        path = place.zone.path / "state" / "journal.sqlite"
        if upload.landed_at is None or not path.exists():
            return None
        names = [upload.landed] if upload.landed else names_of(upload.wanted.path)
        with contextlib.closing(Journal(path, create=False)) as journal:
            for name in names:
                rows = journal.rows("by_path", path=name, limit=_MOST_NAMESAKES)
                for row in rows:
                    # Inode numbers are used again: the time counts too.
                    since = row["created_at"] >= upload.created_at
                    if row["inode"] == upload.inode and since:
                        return journal.get(row["id"])
        return None

    def _landed(self, zone: Zone, upload: Upload) -> Place:
        tidying.tell_landed(zone.name, upload)
        length, landed_at = upload.wanted.length, upload.landed_at or 0.0
        return Place(zone, State(upload, length, landed_at))

    def _space(self, zone: Zone) -> Space:
        service = self._backend.serving(zone.name)
        # What is mounted over must not be written below.
        service.folders.check_present()
        return Space(service)

    def _admit(self, space: Space, wanted: Wanted) -> None:
        unfinished = {
            one: Shelf(one.service.zone.path).unfinished()
            for one in self._on_disk_of(space)
        }
        admission.check_count(wanted, unfinished[space])
        promised = sum(one.promised(states) for one, states in unfinished.items())
        space.check_for(wanted, promised)

    def _on_disk_of(self, space: Space) -> list[Space]:
        """Return the zone, and the others that are on the same disk."""
        device = os.stat(space.service.zone.path).st_dev
        found = [space]
        for service in self._backend.zones():
            # A disk that is away is not this one.
            with contextlib.suppress(OSError):
                same = os.stat(service.zone.path).st_dev == device
                if same and service.opened and service != space.service:
                    found.append(Space(service))
        return found


def gone() -> Problem:
    return Problem(
        404,
        "You have no such upload: it expired, was ended, or is somebody else's.",
        "Begin it again with POST /api/v1/uploads.",
    )


def of_disk(error: OSError) -> Problem:
    """Return the answer to what the disk says."""
    if error.errno in disk.FULL:
        return Problem(
            HTTPStatus.INSUFFICIENT_STORAGE,
            f"The zone's disk does not take it: {error.strerror}. What came is kept.",
            "Free some space on it; then the upload goes on where it was.",
        )
    if error.errno in disk.ERRORS:
        return problems.of(disk.fault(error))
    if isinstance(error, PermissionError):
        return Problem(
            HTTPStatus.CONFLICT,
            f"The daemon may not put the file into input/: {error.strerror}. What "
            "came is kept.",
            "Mend the rights of the zone's folders, as dropzone doctor says.",
        )
    return Problem(
        HTTPStatus.CONFLICT,
        f"The file cannot be put into input/: {error.strerror}.",
        "See that only folders are where its path has folders, and try again.",
    )
