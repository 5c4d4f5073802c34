"""Who may do what: tokens with names and roles, compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from dropzone.settings import Settings
from dropzone.web_settings import Role, Web

#: What the scrapers' own token (``web.token``) may: metrics and health, nothing else.
SCRAPER = "scraper"
_RANKS = {Role.READ: 1, Role.DROP: 2, Role.OPERATE: 3}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``role`` is None for the token of the scrapers.

    ``by`` is ``local`` (no token is asked for), ``bearer`` or ``session``. ``csrf`` is
    what a request that changes something must repeat, where a browser might be led to
    send it.
    """

    name: str
    role: Role | None
    by: str
    csrf: str = ""

    def may(self, needed: Role) -> bool:
        return self.role is not None and _RANKS[self.role] >= _RANKS[needed]


@dataclass(frozen=True, slots=True)
class Account:
    """A token's name and role; ``digest`` stands for the token."""

    name: str
    role: Role | None
    digest: bytes


class Accounts:
    """The tokens in force. Every method may be called from any thread."""

    def __init__(self, settings: Web) -> None:
        self._known = _accounts(settings)

    def update(self, settings: Settings) -> None:
        """Take other tokens; sessions of those that are gone end."""
        self._known = _accounts(settings.web)

    @property
    def asked(self) -> bool:
        """True when nobody is served without a token."""
        return bool(self._known)

    def of_token(self, token: str) -> Account | None:
        """Return whose token this is. Takes as long whichever it is, and for none."""
        given = digest(token)
        found = None
        for account in self._known:
            if hmac.compare_digest(given, account.digest):
                found = account
        return found

    def is_current(self, account: Account) -> bool:
        return account in self._known


def digest(text: str) -> bytes:
    """Return what stands for a secret; of one length, so that comparing takes one time.

    Tokens are long and random, so that a slow hash would add nothing.
    """
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _accounts(settings: Web) -> Sequence[Account]:
    known = [
        Account(one.name, one.role, digest(one.token.get_secret_value()))
        for one in settings.tokens
    ]
    if settings.token is not None:
        scrapers = digest(settings.token.get_secret_value())
        known.append(Account(SCRAPER, None, scrapers))
    return tuple(known)
