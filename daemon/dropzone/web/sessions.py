"""The sessions of browsers that logged in: kept here, named by a cookie."""

import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dropzone.web.accounts import Account, Accounts, Caller, digest

#: A session ends after so long without a request, and after so long in any case.
IDLE_SECONDS = 12 * 3600.0
LONGEST_SECONDS = 7 * 24 * 3600.0
#: Of all, and of one token, whose many logins must not log out others.
_MOST, _MOST_OF_ONE = 1000, 100


@dataclass(slots=True)
class Session:
    """One browser's login. ``csrf`` is known to our own pages only."""

    account: Account
    csrf: str
    begun: float
    seen: float


class Sessions:
    """All sessions, in memory: a restart of the daemon ends them.

    They are kept by a digest of what the cookie holds, so that a dump or a log of this
    gives nobody a cookie.
    """

    def __init__(
        self, accounts: Accounts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, account: Account) -> str:
        """Return what the cookie of a new session holds; always a new name."""
        name, now = secrets.token_urlsafe(32), self._clock()
        session = Session(account, secrets.token_urlsafe(32), now, now)
        with self._lock:
            mine = [key for key, one in self._kept.items() if one.account == account]
            for key in mine[: max(0, len(mine) + 1 - _MOST_OF_ONE)]:
                del self._kept[key]
            self._kept[digest(name)] = session
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return name

    def caller(self, name: str) -> Caller | None:
        """Return who this cookie stands for, if its session goes on."""
        key, now = digest(name), self._clock()
        with self._lock:
            session = self._kept.get(key)
            if session is None:
                return None
            if not self._goes_on(session, now):
                del self._kept[key]
                return None
            session.seen = now
            # The longest unused one is the first to go.
            self._kept.move_to_end(key)
        account = session.account
        return Caller(account.name, account.role, "session", session.csrf)

    def goes_on(self, name: str) -> bool:
        """Return whether this session goes on; a page that only looks keeps none."""
        with self._lock:
            session = self._kept.get(digest(name))
            return session is not None and self._goes_on(session, self._clock())

    def end(self, name: str) -> None:
        with self._lock:
            self._kept.pop(digest(name), None)

    def __len__(self) -> int:
        return len(self._kept)

    def _goes_on(self, session: Session, now: float) -> bool:
        return (
            now - session.seen < IDLE_SECONDS
            and now - session.begun < LONGEST_SECONDS
            and self._accounts.is_current(session.account)
        )


_COOKIE = re.compile(r"[\w-]{22}", re.ASCII)


class LoginForms:
    """Marks of login forms: what a form holds fits only the cookie it came with."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def cookie(self, known: str = "") -> str:
        """Return what a form's cookie says: ``known`` again, if it may be one of ours.

        A browser has one for all its tabs: a form that another tab is led to must not
        make the one too old that somebody fills in.
        """
        return known if _COOKIE.fullmatch(known) else secrets.token_urlsafe(16)

    def mark(self, cookie: str) -> str:
        return hmac.digest(self._key, cookie.encode(), "sha256").hex()

    def fits(self, cookie: str, mark: str) -> bool:
        mine = self.mark(cookie).encode()
        return bool(cookie) and hmac.compare_digest(mine, mark.encode())
