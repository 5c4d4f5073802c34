"""Who may ask, and the headers of every answer.

Without a token only this machine can ask, and only the daemon's user and root get more
than metrics and health. A page of a foreign site that a browser here shows must not ask
at all: its requests carry the name of that site (DNS rebinding).
"""

import secrets
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropzone.web import csrf, ending, fields, limits, neighbours, proxies
from dropzone.web.accounts import Accounts, Caller
from dropzone.web.attempts import Attempts
from dropzone.web.problems import Problem
from dropzone.web.proxies import Origin, Proxies
from dropzone.web.sessions import Sessions
from dropzone.web_settings import Role, Web

#: Served to everybody; those of health then tell no details.
OPEN = frozenset({"/healthz", "/readyz", "/login"})
_OPEN_BELOW = "/static/"
_QUESTIONS = "/ask/"
_API = "/api/"
_LOGOUT = "/logout"
# What any program of this machine may see while no token is asked for.
_PUBLIC = frozenset({"/metrics", "/healthz", "/readyz"})
_FENCE = "frame-ancestors 'none'; base-uri 'none'"
_DATA_POLICY = f"default-src 'none'; {_FENCE}; form-action 'none'"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    f"connect-src 'self'; font-src 'self'; {_FENCE}; form-action 'self'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    # With "no-referrer" browsers do not tell us either which page sends a form.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), "
    "usb=(), browsing-topics=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
_OURS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_BEARER = {"www-authenticate": 'Bearer realm="dropzone"'}
_FORM = "application/x-www-form-urlencoded"


class Guard:
    """Wraps the app, which finds in its scope what the guard knows.

    ``caller`` (None only for open paths), ``trusted`` (whether details may be told),
    ``origin`` (where the request came from), ``prefix`` (what links begin with),
    ``goes_on`` (asked by what lasts: whether the caller still may). Bodies are whole
    and small when the app gets them, but for bytes of a file, of which none was taken.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Web,
        accounts: Accounts,
        sessions: Sessions,
        attempts: Attempts,
        page: Callable[[Request, Problem], Response] | None = None,
    ) -> None:
        """``page`` tells a problem to a person; without it all get JSON."""
        self._app = app
        self._page = page
        self._prefix = settings.path_prefix
        self._cookie = cookie_name(settings)
        self._proxies = Proxies(settings.trusted_proxies)
        self._accounts = accounts
        self._sessions = sessions
        self._attempts = attempts
        self._local = Caller("local", Role.OPERATE, "local", secrets.token_urlsafe(32))
        self._neighbour = Caller("another user", None, "local")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await ending.told(self._answer, scope, receive, _with_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        scope = self._below_prefix(scope)
        try:
            streamed = limits.is_streamed(scope["method"], scope["path"], headers)
            limits.check_headers(headers, streamed=streamed)
            peer = (scope.get("client") or ("", 0))[0]
            origin = self._proxies.origin(peer, scope["scheme"], headers)
            _check_from_us(scope, headers, origin)
            caller = self._caller(scope, headers, origin)
            if caller is None and not _is_open(scope["path"]):
                await self._ask_for_token(scope, headers)(scope, receive, send)
                return
            if scope["method"] not in csrf.SAFE:
                body = None if streamed else await limits.body_of(receive)
                self._check_meant(body or b"", headers, caller)
                receive = receive if body is None else limits.again(body, receive)
        except Problem as problem:
            await self._told(problem, scope, headers)(scope, receive, send)
            return
        seen = {
            "caller": caller,
            "trusted": caller is not None,
            "origin": origin,
            "goes_on": self._goes_on(headers),
        }
        await self._app({**scope, **seen}, receive, send)

    def _goes_on(self, headers: Headers) -> Callable[[], bool]:
        """Return what tells whether this caller may still be told things."""
        token = _token_of(headers)
        account = self._accounts.of_token(token) if token is not None else None
        cookies = cookie_parser(headers.get("cookie", ""))
        session = cookies.get(self._cookie, "")

        def goes_on() -> bool:
            if not self._accounts.asked:
                return True
            if token is not None:
                # Its role may be another one now.
                return account is not None and self._accounts.is_current(account)
            return self._sessions.goes_on(session)

        return goes_on

    def _below_prefix(self, scope: Scope) -> Scope:
        path, prefix = scope["path"], self._prefix
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            # Starlette takes the root off by itself where it is there.
            path = path.removeprefix(prefix) or "/"
        # Some proxies take the prefix off, some hand it on.
        return {**scope, "path": path, "root_path": "", "prefix": prefix}

    def _caller(self, scope: Scope, headers: Headers, origin: Origin) -> Caller | None:
        """Return who asks; None for nobody we know.

        Raises:
            Problem: what the request says of itself is wrong.

        """
        if not self._accounts.asked:
            return self._of_this_machine(scope, headers)
        token = _token_of(headers)
        if token is not None:
            return self._bearer(token, scope["path"], origin)
        cookies = cookie_parser(headers.get("cookie", ""))
        return self._sessions.caller(cookies.get(self._cookie, ""))

    def _bearer(self, token: str, path: str, origin: Origin) -> Caller | None:
        wait = self._attempts.wait_seconds(origin.address)
        if wait and not _is_open(path):
            raise too_many(wait)
        account = self._accounts.of_token(token) if not wait else None
        if account is None:
            self._attempts.failed(origin.address)
            return None
        return Caller(account.name, account.role, "bearer")

    def _of_this_machine(self, scope: Scope, headers: Headers) -> Caller | None:
        is_ours = _name_in(headers.get("host", "")) in _OURS
        if _is_open(scope["path"]) and not (
            is_ours and not proxies.is_handed_on(headers)
        ):
            return None
        if not is_ours:
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This is served under the names localhost, 127.0.0.1 and [::1] only.",
                "Use one of them, or set web.tokens: docs/security.md.",
            )
        if proxies.is_handed_on(headers):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "A proxy handed this on, but no token is asked for.",
                "Set web.tokens and web.trusted_proxies: docs/security.md.",
            )
        if scope["path"] in _PUBLIC or neighbours.is_our_own(
            scope.get("client"), scope.get("server")
        ):
            return self._local
        return self._neighbour

    @staticmethod
    def _check_meant(body: bytes, headers: Headers, caller: Caller | None) -> None:
        """Check that who asks knows that it changes something.

        Raises:
            Problem: a foreign page may have sent it.

        """
        if caller is not None and not csrf.is_meant(
            caller, headers, _field(headers, body)
        ):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "Nothing was done: the mark of the session "
                f"({csrf.HEADER}) is missing or old.",
                "Go back, load that page again, and do it again. A program gets the "
                "mark from /api/v1/me, or uses Authorization: Bearer TOKEN.",
            )

    def _ask_for_token(self, scope: Scope, headers: Headers) -> Response:
        if not _wants_page(headers):
            return Problem(
                HTTPStatus.UNAUTHORIZED,
                "This takes a token of web.tokens or web.token.",
                "Send Authorization: Bearer TOKEN, or log in at /login.",
                headers=_BEARER,
            ).response()
        url = f"{self._prefix}/login"
        if scope["method"] in {"GET", "HEAD"}:
            asked = scope.get("query_string", b"").decode("latin-1")
            back = quote(f"{scope['path']}?{asked}" if asked else scope["path"])
            return RedirectResponse(f"{url}?next={back}", HTTPStatus.SEE_OTHER)
        if scope["path"] == _LOGOUT:
            return RedirectResponse(url, HTTPStatus.SEE_OTHER)
        problem = Problem(
            HTTPStatus.UNAUTHORIZED,
            "You are not logged in any more, so nothing was done.",
            "Log in, and do it again.",
            headers=_BEARER,
        )
        return self._told(problem, scope, headers)

    def _told(self, problem: Problem, scope: Scope, headers: Headers) -> Response:
        """Return a problem as a page where a person sees it."""
        of_api = scope["path"].startswith(_API)
        if self._page is None or of_api or not _wants_page(headers):
            return problem.response()
        return self._page(Request({**scope, "caller": None}), problem)


def _check_from_us(scope: Scope, headers: Headers, origin: Origin) -> None:
    if scope["method"] in csrf.SAFE:
        # Nobody else opens a question just where a second click is about to come.
        asks = scope["path"].startswith(_QUESTIONS)
        led = csrf.is_led_here(headers) and not asks
        foreign = csrf.is_of_other_site(headers) and not led
    else:
        foreign = csrf.is_foreign(headers, origin.scheme, origin.host)
    if foreign:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "A page of another site sent this.",
            "Use the page of the daemon itself. Behind a proxy, let it keep Host, "
            "or set X-Forwarded-Host and web.trusted_proxies.",
        )


def too_many(wait: float) -> Problem:
    """Return the answer to an address that must wait."""
    seconds = int(wait) + 1
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"Too many wrong tokens came from your address; wait {seconds} s.",
        "Check the token: it is a line of web.tokens.",
        headers={"retry-after": str(seconds)},
    )


def cookie_name(settings: Web) -> str:
    """Return the name of the session's cookie: ports share a browser's cookies."""
    return f"dropzone_{settings.port}"


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(_OPEN_BELOW)


def _token_of(headers: Headers) -> str | None:
    """Return the token; None where there is none.

    What a proxy before us asks for itself (Basic, Digest) browsers send us, too.
    """
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _wants_page(headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "")


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            page = headers.get("content-type", "").startswith("text/html")
            policy = _PAGE_POLICY if page else _DATA_POLICY
            headers.setdefault("content-security-policy", policy)
        await send(message)

    return send_with_headers


def _field(headers: Headers, body: bytes) -> str | None:
    if not headers.get("content-type", "").startswith(_FORM):
        return None
    given = fields.of(body).get(csrf.FIELD)
    return given[0] if given else None


def _name_in(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
