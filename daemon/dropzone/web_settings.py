"""The settings of what the daemon tells others: its page, and traces."""

import ipaddress
import re
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from dropzone.section import Section, web_address

# What RFC 6750 allows in a header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{20,}")


class Web(Section):
    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8484
    token: SecretStr | None = None

    @field_validator("host")
    @classmethod
    def _host_is_an_address(cls, host: str) -> str:
        if host != "localhost":
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise ValueError(
                    "must be localhost or an IP address of this machine, such as "
                    "127.0.0.1, or 0.0.0.0 for all of them"
                ) from None
        return host

    @field_validator("token")
    @classmethod
    def _token_cannot_be_guessed(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value() if token is not None else None
        if text is not None and not _TOKEN.fullmatch(text):
            raise ValueError(
                "needs at least 20 letters, digits or -._~+/= and nothing else; make "
                "one: openssl rand -hex 24"
            )
        return token

    @model_validator(mode="after")
    def _strangers_need_the_token(self) -> Self:
        if self.enabled and self.token is None and not self.loopback:
            raise ValueError(
                f"host {self.host} can be reached from other machines, which takes a "
                "token: set DROPZONE_WEB_TOKEN or DROPZONE_WEB_TOKEN_FILE, or leave "
                "host at 127.0.0.1"
            )
        return self

    @property
    def loopback(self) -> bool:
        """True when only programs of this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


class Traces(Section):
    endpoint: str | None = None

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else web_address(url)
