"""Settings: the services, the examination, the configuration, and what this is."""

from collections.abc import Mapping, Sequence
from typing import Any

from dropzone.pauses import STEPS
from dropzone.steps import DOES
from dropzone.web.page.desk import View, Visit
from dropzone.web.page.forms import Form
from dropzone.web.page.messages import Message
from dropzone.web_settings import Role

NAMES = {"s3": "S3", "postgres": "Postgres", "mlflow": "MLflow"}
SECTIONS = {
    "zones": "The folders that are watched",
    "aws": "S3, and how to get in",
    "postgres": "The database for text and vectors",
    "mlflow": "Where runs are logged",
    "embedding": "How text becomes vectors",
    "chunking": "How text is cut into passages",
    "extract": "How text is read out of files",
    "limits": "How much is taken at once",
    "retry": "When something is tried again",
    "executor": "How much is worked on at the same time",
    "retention": "How long files and records are kept",
    "web": "This page, and who may see it",
    "log": "What is logged, and where",
    "embedded": "Servers that the daemon runs itself",
    "notifications": "Who is told what",
    "secrets": "Where passwords and tokens lie",
    "traces": "Spans of work for other tools",
}
_VERDICTS = {"problem": 0, "warning": 1, "ok": 2}
_SHOWN = frozenset({"made", "all", "waiting"})


def _services(visit: Visit) -> Mapping[str, Any]:
    overview = visit.ask("overview")
    return {
        "tab": "services",
        "services": visit.ask("services").services,
        "names": NAMES,
        "zones": [(zone, _steps(zone)) for zone in overview.zones],
        "reload": overview.reload,
    }


def _steps(zone: Any) -> Sequence[tuple[str, str, Any]]:
    """Return each step, what it does, and what holds it up, if anything."""
    return [
        (step, DOES[step], [one for one in zone.paused if one.step == step])
        for step in STEPS
    ]


def _doctor(visit: Visit) -> Mapping[str, Any]:
    told = visit.ask("doctor")
    found = sorted(told.findings, key=lambda one: _VERDICTS.get(one.verdict, 0))
    return {
        "tab": "doctor",
        "told": told,
        "found": [one for one in found if one.verdict != "ok"],
        "fine": [one for one in found if one.verdict == "ok"],
    }


def _configuration(visit: Visit) -> Mapping[str, Any]:
    if not visit.caller.may(Role.OPERATE):
        return {"tab": "configuration", "told": None}
    told = visit.ask("settings")
    part, chosen = visit.given("q"), visit.given("show")
    shown = chosen if chosen in _SHOWN else "made"
    kinds = {
        "all": told.settings,
        "made": [one for one in told.settings if one.origin != "default"],
        "waiting": [one for one in told.settings if one.after_restart is not None],
    }
    # Who looks for a setting by its name may mean one that nobody made.
    among = kinds["all"] if part and not chosen else kinds[shown]
    found = [one for one in among if _fits(one, part.casefold())]
    return {
        "tab": "configuration",
        "told": told,
        "part": part,
        "show": "all" if among is kinds["all"] else shown,
        "counts": {name: len(kind) for name, kind in kinds.items()},
        "found": len(found),
        "sections": _by_section(found),
    }


def _fits(one: Any, part: str) -> bool:
    return any(part in text.casefold() for text in (one.key, one.value, one.origin))


def _by_section(settings: Sequence[Any]) -> Sequence[tuple[str, str, Sequence[Any]]]:
    sections: dict[str, list[Any]] = {}
    for one in settings:
        sections.setdefault(one.key.partition(".")[0], []).append(one)
    return [(name, SECTIONS.get(name, ""), of) for name, of in sections.items()]


def _about(visit: Visit) -> Mapping[str, Any]:
    return {"tab": "about", "zones": visit.ask("overview").zones}


VIEWS = (
    View("/settings", "settings_services.html", _services, "settings"),
    View("/settings/doctor", "settings_doctor.html", _doctor, "settings"),
    View(
        "/settings/configuration",
        "settings_configuration.html",
        _configuration,
        "settings",
    ),
    View("/settings/about", "settings_about.html", _about, "settings"),
)


def _examining(_told: Any) -> Message:
    return Message(
        "good",
        "Everything is being examined.",
        "It takes some seconds; what was found appears here.",
    )


FORMS = (Form("examine", lambda _: {}, _examining),)
