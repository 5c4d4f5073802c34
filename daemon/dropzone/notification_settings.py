"""The section ``notifications`` of the settings; config.yaml explains each of them."""

import re
from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, SecretStr, field_validator

from dropzone.section import Section, web_address

Event = Literal["failures", "pauses", "recovery", "summary"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://.")
_TIME_OF_DAY = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


class Notifications(Section):
    targets: tuple[SecretStr, ...] = ()
    webhook: SecretStr | None = None
    command: tuple[str, ...] = ()
    events: tuple[Event, ...] = ("failures", "pauses", "recovery", "summary")
    pause_minutes: NonNegativeFloat = 10.0
    group_seconds: PositiveFloat = 60.0
    daily_at: str | None = "08:00"
    timeout_seconds: PositiveFloat = 15.0

    @field_validator("targets", mode="before")
    @classmethod
    def _one_text_or_several(cls, given: object) -> object:
        # A secret file, or a variable, holds one address a line.
        return given.split() if isinstance(given, str) else given

    @field_validator("targets")
    @classmethod
    def _targets_are_addresses(
        cls, targets: tuple[SecretStr, ...]
    ) -> tuple[SecretStr, ...]:
        for number, target in enumerate(targets, 1):
            if not _SCHEME.match(target.get_secret_value()):
                raise ValueError(
                    f"target {number} is no address such as ntfys://host/topic"
                )
        return targets

    @field_validator("webhook")
    @classmethod
    def _webhook_is_an_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            web_address(url.get_secret_value())
        return url

    @field_validator("daily_at", mode="before")
    @classmethod
    def _time_of_day(cls, given: object) -> object:
        # YAML reads 10:30 without quotes as minutes.
        if isinstance(given, int) and not isinstance(given, bool):
            given = f"{given // 60:02}:{given % 60:02}"
        if isinstance(given, str) and given and not _TIME_OF_DAY.fullmatch(given):
            raise ValueError('must be a time such as "08:00", or null')
        return given or None
