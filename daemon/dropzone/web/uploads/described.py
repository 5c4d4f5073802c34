"""The operations of uploads as the description has them; ``handlers`` does them."""

from typing import NoReturn

from dropzone.web import limits
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Operation
from dropzone.web.uploads import models, protocol, telling
from dropzone.web_settings import Role

_ALL = limits.UPLOADS
_ONE = f"{_ALL}/{{upload}}"


def _never(_backend: Backend, _ask: Ask) -> NoReturn:
    raise AssertionError("The handlers of the uploads answer.")


OPERATIONS = (
    Operation(
        *("OPTIONS", _ALL, "upload_options"),
        "What of tus is spoken here.",
        _never,
        role=None,
        status=204,
    ),
    Operation(
        *("POST", _ALL, "upload_begin"),
        "Begin an upload (tus 1.0.0), with its first bytes if they are sent along.",
        _never,
        models.Upload,
        Role.DROP,
        also=(408, 412, 423, protocol.MISMATCH, 507),
        status=201,
        headers=models.Asking,
        takes=limits.BYTES,
    ),
    Operation(
        *("GET", _ALL, "uploads"),
        "The unfinished uploads of who asks.",
        telling.mine,
        models.Uploads,
        Role.DROP,
    ),
    Operation(
        *("OPTIONS", _ONE, "upload_options_of_one"),
        "What of tus is spoken here.",
        _never,
        role=None,
        status=204,
    ),
    Operation(
        *("HEAD", _ONE, "upload_offset"),
        "How far an upload is, in headers.",
        _never,
        role=Role.DROP,
        also=(409, 412, 507),
        headers=models.Speaking,
    ),
    Operation(
        *("GET", _ONE, "upload"),
        "How far an upload is, where it landed, and which job it became.",
        telling.one,
        models.Upload,
        Role.DROP,
        also=(409, 507),
    ),
    Operation(
        *("PATCH", _ONE, "upload_add"),
        "Add bytes to an upload; the last ones put the file into input/.",
        _never,
        role=Role.DROP,
        also=(408, 412, 423, protocol.MISMATCH, 507),
        status=204,
        headers=models.Adding,
        takes=limits.BYTES,
    ),
    Operation(
        *("DELETE", _ONE, "upload_end"),
        "End an unfinished upload; its bytes are removed.",
        _never,
        role=Role.DROP,
        also=(412, 423, 507),
        status=204,
        headers=models.Speaking,
    ),
)
