"""The requests of tus, and what tells of uploads as JSON."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dropzone.errors import DropzoneError
from dropzone.uploads.shelf import is_id
from dropzone.uploads.writing import Writer
from dropzone.web import limits, problems
from dropzone.web.accounts import Caller
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, answer, check_role, text_of
from dropzone.web.problems import Problem
from dropzone.web.uploads import asking, models, protocol, telling
from dropzone.web.uploads.pouring import pour
from dropzone.web.uploads.protocol import Checksum
from dropzone.web.uploads.shelves import Place, Shelves, gone, of_disk
from dropzone.web.uploads.streams import Stream, Streams, busy
from dropzone.web_settings import Role

_ANY = "0" * 32
# Blocks that are written at once, and what else is asked of the disk at once: neither
# waits for the other, nor anybody else for them.
_WRITERS = 4
_LOOKERS = 4
_OVERRIDE = "x-http-method-override"
T = TypeVar("T")
_Handler = Callable[[Request], Awaitable[Response]]


class Uploads:
    """Takes files in. The bodies come in the event loop; the disk has threads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._shelves = Shelves(backend)
        self._streams = Streams()
        self._writers = anyio.CapacityLimiter(_WRITERS)
        self._lookers = anyio.CapacityLimiter(_LOOKERS)

    def routes(self) -> Sequence[BaseRoute]:
        all_of = {"POST": self._begin, "GET": self._list, "OPTIONS": self._options}
        one = {
            "HEAD": self._offset,
            "GET": self._tell,
            "PATCH": self._add,
            "DELETE": self._end,
            "OPTIONS": self._options,
        }
        return (
            Route(limits.UPLOADS, self._endpoint(all_of), methods=list(all_of)),
            Route(
                f"{limits.UPLOADS}/{{upload}}",
                self._endpoint(one, override=True),
                # Where nothing else passes, POST carries the others.
                methods=[*one, "POST"],
            ),
        )

    def _endpoint(
        self, handlers: Mapping[str, _Handler], *, override: bool = False
    ) -> _Handler:
        async def endpoint(request: Request) -> Response:
            method = request.method
            if override and method == "POST":
                method = request.headers.get(_OVERRIDE, "").upper()
            try:
                handler = handlers.get(method)
                if handler is None:
                    raise _no_method(handlers)
                found = await self._handled(handler, request)
            except Problem as problem:
                found = problem.response()
            for name, value in protocol.EVERY_ANSWER.items():
                found.headers.setdefault(name, value)
            return found

        return endpoint

    async def _handled(self, handler: _Handler, request: Request) -> Response:
        if handler != self._options:
            check_role(request.scope["caller"], Role.DROP)
        if request.query_params:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This takes no parameters.")
        try:
            return await handler(request)
        except DropzoneError as error:
            raise problems.of(error) from error
        except OSError as error:
            raise of_disk(error) from error

    async def _options(self, request: Request) -> Response:
        if not is_id(request.path_params.get("upload", _ANY)):
            raise gone()
        return Response(status_code=204, headers=protocol.OPTIONS)

    # Beginning

    async def _begin(self, request: Request) -> Response:
        headers, caller = request.headers, _caller(request)
        protocol.check_version(headers)
        checksum = protocol.checksum_of(headers)
        brings = protocol.is_bytes(headers)
        if not brings and await request.body():
            raise _not_bytes()
        zones = self._backend.settings().zones
        zone, wanted = asking.wanted_of(headers, caller.name, zones)
        place = await self._run(self._shelves.begin, zone, wanted)
        where = f"{request.scope['prefix']}{limits.UPLOADS}/{place.upload.id}"
        if brings and not place.state.complete:
            try:
                place = await self._take(request, place, 0, checksum)
            except (DropzoneError, OSError, Problem) as error:
                # It has begun all the same, and can go on.
                raise _with(_problem(error), {"location": where}) from error
        told = telling.of(self._shelves, place)
        content = text_of(models.Upload, told)
        found = {"location": where, **self._progress(place)}
        return Response(content, 201, found, media_type="application/json")

    # Going on

    async def _add(self, request: Request) -> Response:
        headers = request.headers
        protocol.check_version(headers)
        if not protocol.is_bytes(headers):
            raise _not_bytes()
        offset, checksum = protocol.offset_of(headers), protocol.checksum_of(headers)
        place = await self._find(request)
        if place.upload.landed_at is not None:
            if offset != place.state.offset or protocol.body_length(headers):
                raise _elsewhere(place.state.offset)
        else:
            await self._streams.clear(place.upload.id)
            place = await self._take(request, place, offset, checksum)
        return Response(status_code=204, headers=self._progress(place))

    async def _take(
        self, request: Request, place: Place, offset: int, checksum: Checksum | None
    ) -> Place:
        """Add the body to an upload, and land it once it is complete."""
        stream = Stream(request.receive, partial(self._refusal, request))
        upload = place.upload
        with self._streams.opened(upload.id, upload.wanted.owner, stream):
            try:
                opened = await self._run(self._shelves.writer, place)
            except BlockingIOError:
                raise busy() from None
            except FileNotFoundError:
                raise gone() from None
            with closing(opened) as writer:
                _check_fits(request, writer, upload.wanted.length, offset)
                await pour(stream.body, writer, checksum, self._write)
                if writer.complete:
                    return await self._write(self._shelves.land, place, writer)
        return await self._run(self._shelves.find, upload.id, upload.wanted.owner)

    def _refusal(self, request: Request) -> Problem | None:
        if self._backend.stop.is_set():
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The daemon stops; what came is kept.",
                "Go on where it was when it is back.",
                headers={"retry-after": "5", "connection": "close"},
            )
        if not request.scope["goes_on"]():
            return Problem(
                HTTPStatus.UNAUTHORIZED,
                "Your token or session is no longer good; what came is kept.",
                "Log in again, and go on where it was.",
                headers={"connection": "close"},
            )
        return None

    # Telling

    async def _offset(self, request: Request) -> Response:
        protocol.check_version(request.headers)
        place = await self._find(request)
        headers = {
            **self._progress(place),
            "upload-length": str(place.upload.wanted.length),
        }
        if place.upload.wanted.metadata:
            headers["upload-metadata"] = place.upload.wanted.metadata
        return Response(headers=headers)

    async def _tell(self, request: Request) -> Response:
        told = await self._run(telling.one, self._backend, _ask(request))
        return answer(models.Upload, told, request)

    async def _list(self, request: Request) -> Response:
        told = await self._run(telling.mine, self._backend, _ask(request))
        return answer(models.Uploads, told, request)

    def _progress(self, place: Place) -> dict[str, str]:
        headers = {"upload-offset": str(place.state.offset)}
        ends = self._shelves.expires_at(place.state)
        if ends is not None:
            headers["upload-expires"] = protocol.date(ends)
        return headers

    # Ending

    async def _end(self, request: Request) -> Response:
        protocol.check_version(request.headers)
        place = await self._find(request)
        if place.upload.landed_at is not None:
            raise Problem(
                HTTPStatus.CONFLICT,
                "The file has landed in input/ already, as if it was dropped there.",
                "Nothing takes it back from here.",
            )
        await self._streams.clear(place.upload.id, by_force=True)
        if not await self._run(self._shelves.remove, place):
            raise busy()
        return Response(status_code=204)

    async def _find(self, request: Request) -> Place:
        name = request.path_params["upload"]
        return await self._run(self._shelves.find, name, _caller(request).name)

    async def _run(self, call: Callable[..., T], *given: Any) -> T:
        return await anyio.to_thread.run_sync(call, *given, limiter=self._lookers)

    async def _write(self, call: Callable[..., T], *given: Any) -> T:
        return await anyio.to_thread.run_sync(call, *given, limiter=self._writers)


def _check_fits(request: Request, writer: Writer, length: int, offset: int) -> None:
    if writer.offset != offset:
        raise _elsewhere(writer.offset)
    brings = protocol.body_length(request.headers)
    if brings is not None and offset + brings > length:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has {brings} bytes, and only {length - offset} are missing.",
            "Send what is missing.",
        )


def _ask(request: Request) -> Ask:
    return Ask(_caller(request), request.path_params, None, None, request)


def _caller(request: Request) -> Caller:
    caller: Caller = request.scope["caller"]
    return caller


def _problem(error: DropzoneError | OSError | Problem) -> Problem:
    if isinstance(error, Problem):
        return error
    return of_disk(error) if isinstance(error, OSError) else problems.of(error)


def _with(problem: Problem, headers: Mapping[str, str]) -> Problem:
    problem.headers.update(headers)
    return problem


def _elsewhere(offset: int) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        f"The upload goes on at {offset}, not at Upload-Offset.",
        "Ask with HEAD how far it is, and go on from there.",
        headers={"upload-offset": str(offset)},
    )


def _not_bytes() -> Problem:
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body must be bytes of the file.",
        f"Send Content-Type: {limits.BYTES}.",
    )


def _no_method(handlers: Mapping[str, _Handler]) -> Problem:
    return Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "This address does not take that method.",
        "See the header Allow.",
        headers={"allow": ", ".join(handlers)},
    )
