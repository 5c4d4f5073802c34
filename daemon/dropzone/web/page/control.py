"""Pausing, resuming, reloading: the questions, and the forms behind them."""

from collections.abc import Mapping
from typing import Any

from dropzone.web.page import links
from dropzone.web.page.desk import View, Visit
from dropzone.web.page.forms import Fields, Form
from dropzone.web.page.messages import Message
from dropzone.web.problems import Problem
from dropzone.web_settings import Role

#: How long a pause may be chosen to last, in seconds; "" is until somebody resumes it.
SPANS = (
    ("", "until somebody resumes it"),
    ("900", "15 minutes"),
    ("3600", "1 hour"),
    ("28800", "8 hours"),
    ("86400", "1 day"),
)
_QUESTIONS = frozenset({"pause", "resume", "reload", "retry_all"})


def _asked(visit: Visit) -> Mapping[str, Any]:
    """Return what the page of a question needs."""
    name = visit.request.path_params["operation"]
    if name not in _QUESTIONS:
        raise Problem(404, "There is nothing at this address.")
    if not visit.caller.may(Role.OPERATE):
        raise Problem(
            403,
            f"The token {visit.caller.name} may not do that.",
            "Ask for a token with the role operate (web.tokens).",
        )
    return {
        "question": name,
        "zone": visit.given("zone"),
        "step": visit.given("step"),
        "next": links.own_path(visit.given("next", "/")),
        "spans": SPANS,
    }


VIEWS = (View("/ask/{operation}", "ask.html", _asked),)


def _where(fields: Fields) -> dict[str, Any]:
    body: dict[str, Any] = {"steps": [step for step in fields.all("step") if step]}
    if zone := fields.one("zone"):
        body["zone"] = zone
    return body


def _pause(fields: Fields) -> Mapping[str, Any]:
    body = _where(fields)
    if seconds := fields.one("seconds"):
        body["seconds"] = seconds
    return {"body": {**body, "reason": fields.one("reason")}}


def _paused(held: Any) -> Message:
    steps = ", ".join(dict.fromkeys(one.step for one in held.changed))
    if not steps:
        return Message("warn", "Nothing was paused.", "It was paused already.")
    return Message("good", f"Paused: {steps}.", "What is under way is finished.")


def _resumed(held: Any) -> Message:
    steps = ", ".join(dict.fromkeys(one.step for one in held.changed))
    if not steps:
        return Message("warn", "Nothing was paused by a person.")
    return Message("good", f"Goes on: {steps}.")


def _reloaded(told: Any) -> Message:
    if not told.ok:
        return Message(
            "bad", f"Nothing was changed. {told.problem}".strip(), told.what_to_do
        )
    if told.needs_restart:
        return Message(
            "warn",
            "The configuration was read. Some of it takes a restart: "
            f"{', '.join(told.needs_restart)}.",
        )
    if told.changed:
        return Message("good", f"In force now: {', '.join(told.changed)}.")
    return Message("good", "The configuration was read; nothing in it had changed.")


FORMS = (
    Form("pause", _pause, _paused),
    Form("resume", lambda fields: {"body": _where(fields)}, _resumed),
    Form("reload", lambda _: {}, _reloaded),
)
