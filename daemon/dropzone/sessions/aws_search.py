"""Walks through the AWS sources in their order, and keeps what was found fresh."""
# ruff: noqa: TID251 - with its neighbours the one place that knows the AWS driver.

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from botocore.credentials import CredentialResolver, Credentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
)

from dropzone.errors import ConfigurationError
from dropzone.sessions.aws_sources import AwsSources, SourceEmpty

# A renewal that fails is raised to whoever needs it, who tells it as an event.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)

# Beside its own errors the driver raises these where a source does not work: a token
# file that is not there, an address that it refuses, an answer without the expected
# fields, no terminal for a second factor, a renewal that came too late.
_SURROUNDINGS = (OSError, ValueError, LookupError, EOFError, RuntimeError)
SEARCH_ERRORS = (BotoCoreError, ClientError, ConfigurationError, *_SURROUNDINGS)

# What tells one state of a file from another; None while it is not there.
Stamp: TypeAlias = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Tried:
    """One source of a search: whether it won, and what there is to say about it.

    ``verdict`` is ``in use``, ``not set``, ``empty``, ``broken`` or ``not asked``.
    """

    source: str
    verdict: str
    told: str


class AwsSearch:
    """One walk through the sources; ``tried`` then has all of them in their order."""

    def __init__(self, sources: AwsSources, order: Sequence[str]) -> None:
        self.sources = sources
        self._order = order
        self.tried: list[Tried] = []
        self.winner: str | None = None
        #: The files that were read, as they were then: what was found is old when one
        #: of them changed.
        self.files: dict[Path, Stamp] = {}

    def load(self) -> Credentials:
        """Return the credentials of the first source that is set.

        Raises:
            NoCredentialsError: none is.
            CredentialRetrievalError: that source does not work.

        """
        for name in self._order:
            if (found := self._load(name)) is not None:
                self.winner = name
                self._tell_rest(name)
                return found
        raise NoCredentialsError

    def _load(self, name: str) -> Credentials | None:
        source = self.sources[name]
        look = source.look()
        # Before they are read, and also where they hold nothing yet.
        self.files |= {path: _stamp(path) for path in source.files}
        if not look.is_set:
            self._note(name, "not set", look.told)
            return None
        try:
            found = source.load()
            found.get_frozen_credentials()
        except SourceEmpty as error:
            self._note(name, "empty", str(error))
            return None
        except SEARCH_ERRORS as error:
            told = sentence(error)
            self._note(name, "broken", f"{look.told}: {told}")
            self._tell_rest(name)
            raise CredentialRetrievalError(provider=name, error_msg=told) from error
        self._note(name, "in use", look.told)
        return found

    def _note(self, name: str, verdict: str, told: str) -> None:
        self.tried.append(Tried(name, verdict, told))

    def _tell_rest(self, last: str) -> None:
        for name in self._order[self._order.index(last) + 1 :]:
            look = self.sources[name].look()
            told = f"{look.told}; {last} comes first" if look.is_set else look.told
            self._note(name, "not asked" if look.is_set else "not set", told)


class FoundCredentials(Credentials):  # type: ignore[misc]  # the driver has no types
    """Searched when first used, and again when a file that they came from changed.

    Temporary ones are renewed by the driver itself. Thread-safe. Each access raises
    NoCredentialsError or CredentialRetrievalError while there are none.
    """

    def __init__(self, search: Callable[[], AwsSearch]) -> None:
        self._new_search = search
        self._lock = threading.Lock()
        self._inner: Any = None
        self._files: dict[Path, Stamp] = {}
        self.method = "none found"

    def get_frozen_credentials(self) -> Any:
        with self._lock:
            if self._inner is None:
                self._search()
            elif any(_stamp(path) != was for path, was in self._files.items()):
                # Half of a change may have been made: the old ones go on then.
                with contextlib.suppress(*SEARCH_ERRORS):
                    self._search()
            inner = self._inner
        # Outside of the lock: the driver lets one thread renew while others go on.
        try:
            return inner.get_frozen_credentials()
        except SEARCH_ERRORS as error:
            raise CredentialRetrievalError(
                provider=self.method, error_msg=sentence(error)
            ) from error

    def _search(self) -> None:
        made = self._new_search()
        self._inner = made.load()
        self.method = str(made.winner)
        self._files = made.files

    @property
    def access_key(self) -> Any:
        return self.get_frozen_credentials().access_key

    @property
    def secret_key(self) -> Any:
        return self.get_frozen_credentials().secret_key

    @property
    def token(self) -> Any:
        return self.get_frozen_credentials().token

    @property
    def account_id(self) -> Any:
        return self.get_frozen_credentials().account_id


class OneCredential(CredentialResolver):  # type: ignore[misc]  # as above
    """What a driver session takes for its search, and always the same answer."""

    def __init__(self, found: FoundCredentials) -> None:
        super().__init__([])
        self._found = found

    def load_credentials(self) -> FoundCredentials:
        return self._found


def sentence(error: Exception) -> str:
    """Return what an error of a source says, on one line."""
    if isinstance(error, LookupError):
        return f"the answer has no {error}"
    if isinstance(error, EOFError):
        return "it asks for a code on the terminal, and there is none"
    told = str(error)
    if isinstance(error, CredentialRetrievalError):
        # Without the words that the driver puts before it, once for each layer.
        told = str(error.kwargs["error_msg"])
    return " ".join(told.split()).rstrip(": ") or type(error).__name__


def _stamp(path: Path) -> Stamp:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size
