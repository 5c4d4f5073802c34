"""The settings of what the daemon tells others: its page, and traces."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, SecretStr, field_validator, model_validator

from dropzone.section import Section, web_address

# What RFC 6750 allows in a header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{20,}")
_GUESSED = (
    "needs at least 20 letters, digits or -._~+/= and nothing else; make one: "
    "openssl rand -hex 24"
)
_LINE_WORDS = 3
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


class Role(StrEnum):
    """What a token may do; each may do what those before it may."""

    READ = "read"
    DROP = "drop"
    OPERATE = "operate"


class Token(Section):
    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$",
            description="at most 63 letters, digits and '.', '_', '@', '-', "
            "the first a letter or digit",
        ),
    ]
    role: Role
    token: SecretStr

    @field_validator("token")
    @classmethod
    def _cannot_be_guessed(cls, token: SecretStr) -> SecretStr:
        return _unguessable(token)


class Web(Section):
    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8484
    token: SecretStr | None = None
    tokens: tuple[Token, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    path_prefix: str = ""
    trusted_proxies: tuple[str, ...] = ()
    uploads_expire_hours: PositiveFloat = 24.0

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
        return token if token is None else _unguessable(token)

    @field_validator("tokens", mode="before")
    @classmethod
    def _one_text_or_several(cls, given: object) -> object:
        # A secret file, or a variable, holds one token a line: NAME ROLE TOKEN.
        if not isinstance(given, str):
            return given
        lines = [line.split() for line in given.splitlines() if line.strip()]
        if any(len(words) != _LINE_WORDS for words in lines):
            raise ValueError("each line must be: NAME ROLE TOKEN")
        return [
            {"name": name, "role": role, "token": token} for name, role, token in lines
        ]

    @field_validator("tokens")
    @classmethod
    def _tokens_are_apart(cls, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        if len({one.name for one in tokens}) != len(tokens):
            raise ValueError("two tokens have the same name")
        if len({one.token.get_secret_value() for one in tokens}) != len(tokens):
            raise ValueError("two tokens are the same; make one for each name")
        return tokens

    @field_validator("path_prefix")
    @classmethod
    def _prefix_is_a_path(cls, prefix: str) -> str:
        prefix = prefix.rstrip("/")
        if not _PREFIX.fullmatch(prefix):
            raise ValueError("must be a path such as /dropzone")
        return prefix

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _one_proxy_or_several(cls, given: object) -> object:
        return given.replace(",", " ").split() if isinstance(given, str) else given

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f"{proxy!r} is no address or network such as 127.0.0.1 or "
                    "10.0.0.0/24"
                ) from None
        return proxies

    @model_validator(mode="after")
    def _strangers_need_a_token(self) -> Self:
        if not self.enabled or self.token is not None or self.tokens:
            return self
        who = "" if self.loopback else f"host {self.host} can be reached"
        who = who or ("trusted_proxies let requests in" if self.trusted_proxies else "")
        if who:
            raise ValueError(
                f"{who} from other machines, which takes a token: set "
                "DROPZONE_WEB_TOKENS or DROPZONE_WEB_TOKENS_FILE (docs/security.md), "
                "or leave host at 127.0.0.1 and trusted_proxies empty"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @property
    def loopback(self) -> bool:
        """True when only programs of this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def asks(self) -> bool:
        """True when everybody needs a token."""
        return self.token is not None or bool(self.tokens)


class Traces(Section):
    endpoint: str | None = None

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else web_address(url)


def _unguessable(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError(_GUESSED)
    return token
