"""The settings in force and where each came from; secrets as stars."""

from collections.abc import Mapping
from typing import Any

from dropzone import config, explaining, services
from dropzone.text import display
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Operation
from dropzone.web_settings import Role


def shown(backend: Backend, _ask: Ask) -> Mapping[str, Any]:
    """Return every setting in force, and what waits for a restart."""
    loaded, used = backend.loaded(), backend.settings()
    read = services.without_own_addresses(loaded.settings)
    in_force = dict(config.flatten(used))
    told = []
    for one in explaining.explained(loaded, read):
        now = in_force.get(one.key, one.value)
        told.append(
            {
                "key": one.key,
                "value": now,
                "origin": one.origin,
                "line": one.line,
                "after_restart": one.value if one.value != now else None,
            }
        )
    file = display(bytes(loaded.path.absolute())) if loaded.path is not None else None
    return {"file": file, "settings": told}


OPERATIONS = (
    Operation(
        *("GET", "/api/v1/settings", "settings"),
        "Every setting in force and where it came from; secrets as stars.",
        shown,
        models.SettingsTold,
        Role.OPERATE,
    ),
)
