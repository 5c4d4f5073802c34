"""Style sheets, scripts and pictures: small, few, and kept in memory."""

import hashlib
from collections.abc import Mapping
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dropzone.web.problems import Problem

#: Where they are; everybody may see them, as the login page needs them.
PATH = "/static"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# The version in their address changes with any of them.
# A worker obeys the policy that it came with: it may ask us, and nobody else.
_POLICY = "default-src 'none'; connect-src 'self'; frame-ancestors 'none'"
_FOR_EVER = "public, max-age=31536000, immutable"


class Statics:
    """The files of the folder ``static``."""

    def __init__(self) -> None:
        folder = resources.files("dropzone.web") / "static"
        self._files: Mapping[str, bytes] = {
            one.name: one.read_bytes()
            for one in sorted(folder.iterdir(), key=lambda one: one.name)
            if one.name.rpartition(".")[2] in _TYPES
        }
        whole = hashlib.sha256(b"\0".join(self._files.values()))
        self._version = whole.hexdigest()[:12]

    def url(self, prefix: str, name: str) -> str:
        """Return where a file is; it must be there."""
        if name not in self._files:
            raise KeyError(name)
        return f"{prefix}{PATH}/{self._version}/{name}"

    def route(self) -> Route:
        return Route(f"{PATH}/{{version}}/{{name}}", self._answer)

    async def _answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return Problem(404, "There is nothing at this address.").response()
        # An old page that is still open gets what there is now, but does not keep it.
        known = request.path_params["version"] == self._version
        headers = {
            "cache-control": _FOR_EVER if known else "no-store",
            "content-security-policy": _POLICY,
        }
        kind = _TYPES[name.rpartition(".")[2]]
        return Response(self._files[name], headers=headers, media_type=kind)
