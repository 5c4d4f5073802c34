"""Where the AWS credentials come from, and how to say so without showing them.

The sources are asked in the order of the settings; the first one that is set wins. A
source that is set but does not work ends the search: keys of another account, further
down the list, would be worse than none.
"""
# ruff: noqa: TID251 - the one place, with its neighbours, that knows the AWS driver.

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from dropzone.errors import ConfigurationError
from dropzone.settings import AWS_SOURCES

if TYPE_CHECKING:
    import boto3

    from dropzone.sessions.aws_search import AwsSearch

AUTO = ("auto",)
# The driver's own limits for STS and SSO are minutes.
_CONNECT_SECONDS, _READ_SECONDS = 3, 10


@dataclass(frozen=True)
class AwsCredentials:
    """Where to look for AWS credentials, or the keys of our own server.

    ``isolated`` keeps the user's AWS profile and files out: keys of the embedded
    server must work whatever they say, a profile that does not exist included.
    ``sources`` are names of ``settings.AWS_SOURCES`` in their order, or "auto".
    """

    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    profile: str | None = None
    isolated: bool = False
    sources: tuple[str, ...] = AUTO
    keyring: str | None = None

    @classmethod
    def embedded(cls, access_key: str, secret_key: str) -> "AwsCredentials":
        """Keys of the S3 server that dropzone runs itself."""
        return cls(SecretStr(access_key), SecretStr(secret_key), isolated=True)

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the sources, in the order in which they are asked."""
        return AWS_SOURCES if self.sources == AUTO else self.sources

    def session(self, region: str) -> "boto3.Session":
        """Return a new driver session. Nobody is asked before the first request.

        Raises:
            ConfigurationError: the named profile does not exist, or the source that
                would win is set by half.

        """
        import boto3

        from dropzone.sessions.aws_search import FoundCredentials, OneCredential

        core = self._core(region)
        if self.isolated:
            return boto3.Session(
                aws_access_key_id=_plain(self.access_key),
                aws_secret_access_key=_plain(self.secret_key),
                region_name=region,
                botocore_session=core,
            )
        self._check_at_once(region)
        found = FoundCredentials(lambda: self.search(region))
        core.register_component("credential_provider", OneCredential(found))
        return boto3.Session(region_name=region, botocore_session=core)

    def search(self, region: str) -> "AwsSearch":
        """Return a new search, which has read no file and asked nobody yet.

        Raises:
            ConfigurationError: the named profile does not exist.

        """
        from botocore.credentials import CredentialResolver

        from dropzone.sessions.aws_search import AwsSearch
        from dropzone.sessions.aws_sources import AwsSources, Given

        core = self._core(region)
        given = Given(
            self.access_key,
            self.secret_key,
            self.profile,
            self.keyring,
            by_name=self.sources != AUTO,
        )
        sources = AwsSources(core, given)
        # Its clients for STS and SSO sign with what each is handed, or not at all.
        core.register_component("credential_provider", CredentialResolver([]))
        return AwsSearch(sources, self.order)

    def exported(self, region: str) -> dict[str, str]:
        """Return the keys by the names of their variables; empty when there are none.

        Raises:
            ServiceUnavailable: the source that would give them does not work (``s3``).

        """
        if self.isolated:
            return {
                "AWS_ACCESS_KEY_ID": _plain(self.access_key) or "",
                "AWS_SECRET_ACCESS_KEY": _plain(self.secret_key) or "",
            }
        from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

        from dropzone.sessions import s3_errors

        try:
            found = self.search(region).load().get_frozen_credentials()
        except NoCredentialsError:
            return {}
        except CredentialRetrievalError as error:
            raise s3_errors.translate(error, "", "") from error
        values = {
            "AWS_ACCESS_KEY_ID": found.access_key,
            "AWS_SECRET_ACCESS_KEY": found.secret_key,
            "AWS_SESSION_TOKEN": found.token,
        }
        return {name: str(value) for name, value in values.items() if value}

    def describe(self, session: "boto3.Session | None" = None) -> str:
        """Name the source that wins; with ``session``, what its search found."""
        if self.isolated:
            return "the embedded S3 server"
        if session is None:
            return f"the first of {', '.join(self.order)}"
        from botocore.exceptions import BotoCoreError

        found = session.get_credentials()
        with contextlib.suppress(BotoCoreError):
            found.get_frozen_credentials()
        return str(found.method)

    def _check_at_once(self, region: str) -> None:
        search = self.search(region)
        for name in self.order:
            look = search.sources[name].look()
            if look.broken:
                raise ConfigurationError(
                    f"The AWS credentials of the source {name!r}: {look.told}.",
                    hint="Set both, or neither: dropzone credentials show",
                )
            if look.is_set:
                return

    def _core(self, region: str) -> Any:
        import botocore.session
        from botocore.config import Config

        nowhere = (None, None, os.devnull, None)
        variables: Mapping[str, Any] = {}
        if self.isolated:
            variables = {
                "profile": (None, None, None, None),
                "config_file": nowhere,
                "credentials_file": nowhere,
            }
        elif self.profile is not None:
            # Not the session's own argument, which would shut off the environment.
            variables = {"profile": (None, None, self.profile, None)}
        core = botocore.session.Session(session_vars=variables or None)
        core.set_config_variable("region", region)
        core.set_default_client_config(
            Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
        )
        return core


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
