"""The operations of the API as the pages use them: in-process, with the same rights."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from dropzone import plain
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Operation, asked, called


class Calls:
    """Every operation by its name."""

    def __init__(self, backend: Backend, operations: Sequence[Operation]) -> None:
        self._backend = backend
        self._named = {one.name: one for one in operations}

    def asks_servers(self, name: str) -> bool:
        return self._named[name].asks_servers

    def __call__(
        self,
        name: str,
        request: Request,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the operation's model, filled with what it answers.

        Raises:
            Problem: the visitor may not, something does not fit, or it failed.

        """
        operation = self._named[name]
        ask = asked(operation, request, path or {}, query or {}, body or {})
        value = called(operation, self._backend, ask)
        if operation.answer is None or isinstance(value, operation.answer):
            return value
        return operation.answer.model_validate(plain.of(value))
