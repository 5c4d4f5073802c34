"""The login page: a plain form, which works without JavaScript."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from dropzone.web import csrf, fields, guard
from dropzone.web.accounts import Accounts
from dropzone.web.attempts import Attempts
from dropzone.web.page import links
from dropzone.web.page.rendering import Rendering
from dropzone.web.sessions import LONGEST_SECONDS, LoginForms, Sessions
from dropzone.web_settings import Web

_FORM_SECONDS = 3600


class Login:
    """Logging in and out. The cookies go back to us only, and to no script."""

    def __init__(
        self,
        settings: Web,
        accounts: Accounts,
        sessions: Sessions,
        attempts: Attempts,
        rendering: Rendering,
    ) -> None:
        self._prefix = settings.path_prefix
        self._cookie = guard.cookie_name(settings)
        self._form_cookie = f"{self._cookie}_form"
        self._accounts = accounts
        self._sessions = sessions
        self._attempts = attempts
        self._forms = LoginForms()
        self._rendering = rendering

    def routes(self) -> Sequence[Route]:
        return (
            Route("/login", self.form, methods=["GET"]),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
        )

    async def form(self, request: Request) -> Response:
        after = request.query_params.get("next", "")
        if not self._accounts.asked:
            return self._go(after)
        return self._page(request, after)

    async def log_in(self, request: Request) -> Response:
        given = {k: v[0] for k, v in fields.of(await request.body()).items()}
        after, address = given.get("next", ""), request.scope["origin"].address
        if wait := self._attempts.wait_seconds(address):
            told = guard.too_many(wait).detail
            return self._page(request, after, told, HTTPStatus.TOO_MANY_REQUESTS)
        cookie = request.cookies.get(self._form_cookie, "")
        if not self._forms.fits(cookie, given.get(csrf.FIELD, "")):
            told = "This form was too old. Please log in again."
            return self._page(request, after, told, HTTPStatus.FORBIDDEN)
        account = self._accounts.of_token(given.get("token", "").strip())
        if account is None:
            self._attempts.failed(address)
            told = "There is no such token."
            return self._page(request, after, told, HTTPStatus.FORBIDDEN)
        if account.role is None:
            told = "That is the token of the scrapers (web.token); it opens no pages."
            return self._page(request, after, told, HTTPStatus.FORBIDDEN)
        answer = self._go(after)
        # Who was logged in before under this cookie is no longer.
        self._sessions.end(request.cookies.get(self._cookie, ""))
        self._set(
            request,
            answer,
            self._cookie,
            self._sessions.begin(account),
            int(LONGEST_SECONDS),
        )
        answer.delete_cookie(self._form_cookie, path=self._path)
        return answer

    async def log_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(self._cookie, ""))
        answer = RedirectResponse(f"{self._prefix}/login", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(self._cookie, path=self._path)
        # Below a prefix the storage is also that of the proxy's other programs.
        ours = '"cache"' if self._prefix else '"cache", "storage"'
        answer.headers["clear-site-data"] = ours
        return answer

    @property
    def _path(self) -> str:
        return self._prefix or "/"

    def _page(
        self,
        request: Request,
        after: str,
        told: str = "",
        status: int = HTTPStatus.OK,
    ) -> Response:
        cookie = self._forms.cookie(request.cookies.get(self._form_cookie, ""))
        page = self._rendering(
            "login.html",
            self._prefix,
            {"told": told, "mark": self._forms.mark(cookie), "after": after},
        )
        answer = HTMLResponse(page, status)
        self._set(request, answer, self._form_cookie, cookie, _FORM_SECONDS)
        return answer

    def _set(
        self, request: Request, answer: Response, name: str, value: str, seconds: int
    ) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=seconds,
            path=self._path,
            httponly=True,
            samesite="strict",
            secure=request.scope["origin"].scheme == "https",
        )

    def _go(self, after: str) -> Response:
        """Lead to a page of ours, and to no other site."""
        return links.to(self._prefix, after)
