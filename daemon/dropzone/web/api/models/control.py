"""Who asks, what is set, and what was changed."""

from pydantic import BaseModel


class Me(BaseModel):
    """Who asks; ``csrf`` is what a browser repeats in X-CSRF-Token."""

    name: str
    role: str | None
    by: str
    csrf: str


class Setting(BaseModel):
    """A setting in force; ``after_restart`` is what was read since, if it differs.

    ``line`` is that of the file that ``origin`` names, null for any other origin.
    """

    key: str
    value: str
    origin: str
    line: int | None
    after_restart: str | None


class SettingsTold(BaseModel):
    file: str | None
    settings: list[Setting]


class Diagnosis(BaseModel):
    checked: str
    verdict: str
    found: str
    what_to_do: str
    seconds: float | None


class Examination(BaseModel):
    """The last examination; ``state`` is never, running, done or failed."""

    state: str
    begun_at: float | None
    ended_at: float | None
    findings: list[Diagnosis]
    problem: str


class Changed(BaseModel):
    zone: str
    step: str
    by: str
    since: float
    until: float | None
    reason: str


class Held(BaseModel):
    changed: list[Changed]


class ReloadTold(BaseModel):
    """How the reload went. Where ``ok`` is false all settings stay as they were."""

    at: float
    ok: bool
    changed: list[str]
    needs_restart: list[str]
    problem: str
    what_to_do: str


class Index(BaseModel):
    """Where everything is."""

    version: str
    openapi: str
    links: list[str]
