"""The places where AWS credentials may lie, asked through the AWS driver's own code.

A source says first, without asking anybody, whether it is set at all and why not; only
one that is set is loaded.
"""
# ruff: noqa: TID251 - with its neighbours the one place that knows the AWS driver.

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.credentials import Credentials, create_credential_resolver
from botocore.exceptions import ConfigParseError, ProfileNotFound
from botocore.utils import (
    METADATA_BASE_URL,
    METADATA_BASE_URL_IPv6,
    resolve_imds_endpoint_mode,
)
from pydantic import SecretStr

from dropzone import secret_sources
from dropzone.errors import ConfigurationError
from dropzone.text import display

KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 the name of a variable
TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 the name of a variable
_CONTAINER = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_MAKER = Path("/sys/class/dmi/id/sys_vendor")
_PROFILE_METHODS = (
    *("shared-credentials-file", "login", "custom-process", "config-file"),
)


class SourceEmpty(Exception):
    """A source that is set gave nothing; the next one may be asked."""


@dataclass(frozen=True, slots=True)
class Look:
    """Whether a source is set, told as the end of "NAME: ..."; asks nobody."""

    is_set: bool
    told: str
    #: Set, but so that it can never work: a fault of the configuration.
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """``load`` returns credentials, or raises SourceEmpty or errors of the driver.

    When one of ``files`` changes, what was loaded is old.
    """

    name: str
    look: Callable[[], Look]
    load: Callable[[], Credentials]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What the settings say about AWS credentials."""

    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    profile: str | None = None
    keyring: str | None = None
    #: A source that the settings name is asked, even where it cannot be expected.
    by_name: bool = False


class AwsSources:
    """Every source, over one session of the driver's core."""

    def __init__(
        self, core: Any, given: Given, environ: Mapping[str, str] = os.environ
    ) -> None:
        """``core`` must know the profile.

        Raises:
            ConfigurationError: the named profile does not exist.

        """
        self._core = core
        self._given = given
        self._environ = environ
        try:
            made = create_credential_resolver(core).providers
        except ProfileNotFound as error:
            raise ConfigurationError(
                f"aws.profile: {error}.", hint="Run 'aws configure list-profiles'."
            ) from error
        except ConfigParseError as error:
            raise ConfigurationError(f"The files of the AWS tools: {error}.") from error
        self._providers = {provider.METHOD: provider for provider in made}
        self._profile = core.get_config_variable("profile") or "default"
        self._files = tuple(
            Path(core.get_config_variable(name)).expanduser()
            for name in ("credentials_file", "config_file")
        )

    def __getitem__(self, name: str) -> Source:
        makers: dict[str, Callable[[], Source]] = {
            "environment": lambda: self._driver("environment", self._env, "env"),
            "secrets": self._secrets,
            "settings": lambda: Source("settings", self._set, self._from_settings),
            "keyring": lambda: Source("keyring", self._ring, self._from_keyring),
            "assumed-role": lambda: self._driver(
                "assumed-role", self._role, "assume-role", files=self._files
            ),
            "web-identity": lambda: self._driver(
                "web-identity", self._web, "assume-role-with-web-identity"
            ),
            "sso": lambda: self._driver("sso", self._sso, "sso", files=self._files),
            "profile": lambda: self._driver(
                "profile", self._keys, *_PROFILE_METHODS, files=self._files
            ),
            "container": lambda: self._driver(
                "container", self._container, "container-role"
            ),
            "instance": lambda: Source("instance", self._machine, self._ask_machine),
        }
        return makers[name]()

    def _driver(
        self,
        name: str,
        look: Callable[[], Look],
        *methods: str,
        files: tuple[Path, ...] = (),
    ) -> Source:
        def load() -> Credentials:
            for method in methods:
                if (found := self._providers[method].load()) is not None:
                    return found
            raise SourceEmpty("it holds no keys")

        return Source(name, look, load, files)

    # Environment, settings, files, keyring

    def _env(self) -> Look:
        if not self._environ.get(KEY_ID):
            return Look(False, f"{KEY_ID} is not set")
        if not self._environ.get(SECRET_KEY):
            return Look(True, f"{KEY_ID} is set, {SECRET_KEY} is not", broken=True)
        token = f" with {TOKEN}" if self._environ.get(TOKEN) else ""
        return Look(True, f"{KEY_ID}{token}")

    def _set(self) -> Look:
        if self._given.access_key is None:
            return Look(False, "aws.access_key_id is not set")
        return Look(True, "aws.access_key_id")

    def _from_settings(self) -> Credentials:
        key, secret = self._given.access_key, self._given.secret_key
        if key is None or secret is None:
            raise SourceEmpty("aws.access_key_id is not set")
        return Credentials(
            key.get_secret_value(), secret.get_secret_value(), method="settings"
        )

    def _secrets(self) -> Source:
        found = {
            name: path
            for name in (KEY_ID, SECRET_KEY, TOKEN)
            if (path := secret_sources.file_of(name, self._environ))
        }

        def look() -> Look:
            if not found.keys() & {KEY_ID, SECRET_KEY}:
                return Look(False, secret_sources.no_file(KEY_ID, self._environ))
            told = ", ".join(display(bytes(path)) for path in found.values())
            for name in (KEY_ID, SECRET_KEY):
                if name not in found:
                    missing = secret_sources.no_file(name, self._environ)
                    return Look(True, f"{told} is there, but {missing}", broken=True)
            return Look(True, told)

        def load() -> Credentials:
            held = {name: secret_sources.read(path) for name, path in found.items()}
            return Credentials(
                held[KEY_ID], held[SECRET_KEY], held.get(TOKEN), method="secrets"
            )

        return Source("secrets", look, load, tuple(found.values()))

    def _ring(self) -> Look:
        if self._given.keyring is None:
            return Look(False, "secrets.keyring is not set")
        return Look(True, f"the keyring's entries of {self._given.keyring!r}")

    def _from_keyring(self) -> Credentials:
        service = self._given.keyring or ""
        key = secret_sources.from_keyring(service, KEY_ID)
        secret = secret_sources.from_keyring(service, SECRET_KEY)
        if key is None or secret is None:
            missing = KEY_ID if key is None else SECRET_KEY
            raise SourceEmpty(f"the keyring's {service!r} has no {missing}")
        token = secret_sources.from_keyring(service, TOKEN)
        return Credentials(key, secret, token, method="keyring")

    # What a profile of the AWS tools says

    def _settings_of_profile(self) -> dict[str, Any]:
        profiles = self._core.full_config.get("profiles", {})
        found: dict[str, Any] = profiles.get(self._profile, {})
        return found

    def _lacks(self, what: str) -> Look:
        if not any(path.is_file() for path in self._files):
            places = " and no ".join(display(bytes(path)) for path in self._files)
            return Look(False, f"there is no {places}")
        for path in self._files:
            if path.is_file() and not os.access(path, os.R_OK):
                return Look(False, f"{display(bytes(path))} cannot be read")
        if not self._settings_of_profile():
            return Look(False, f"there is no profile {self._profile!r}")
        return Look(False, f"profile {self._profile!r} has no {what}")

    def _role(self) -> Look:
        held = self._settings_of_profile()
        if "role_arn" not in held or "web_identity_token_file" in held:
            return self._lacks("role_arn")
        via = held.get("source_profile") or held.get("credential_source")
        return Look(
            True, f"profile {self._profile!r}: {held['role_arn']} through {via}"
        )

    def _web(self) -> Look:
        if file := self._environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            return Look(True, f"AWS_WEB_IDENTITY_TOKEN_FILE, {file}")
        if file := self._settings_of_profile().get("web_identity_token_file"):
            return Look(True, f"profile {self._profile!r}, {file}")
        lacks = self._lacks("web_identity_token_file")
        return Look(False, f"AWS_WEB_IDENTITY_TOKEN_FILE is not set, {lacks.told}")

    def _sso(self) -> Look:
        held = self._settings_of_profile()
        if "sso_account_id" not in held and "sso_role_name" not in held:
            return self._lacks("sso_account_id")
        return Look(
            True,
            f"profile {self._profile!r}: {held.get('sso_role_name')} "
            f"of account {held.get('sso_account_id')}",
        )

    def _keys(self) -> Look:
        held = self._settings_of_profile()
        for name in ("aws_access_key_id", "login_session", "credential_process"):
            if name in held:
                return Look(True, f"profile {self._profile!r}, {name}")
        return self._lacks("keys")

    # What the surroundings offer

    def _container(self) -> Look:
        for name in _CONTAINER:
            if name in self._environ:
                return Look(True, name)
        return Look(False, f"neither {_CONTAINER[0]} nor {_CONTAINER[1]} is set")

    def _machine(self) -> Look:
        if self._environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return Look(False, "AWS_EC2_METADATA_DISABLED is true")
        where = self._metadata_url()
        named = self._core.get_config_variable("ec2_metadata_service_endpoint")
        maker = _maker()
        if not named and not self._given.by_name and maker and "amazon" not in maker:
            return Look(False, f"this machine is no EC2 instance but by {maker!r}")
        return Look(True, f"the metadata server at {where}")

    def _metadata_url(self) -> str:
        named = self._core.get_config_variable("ec2_metadata_service_endpoint")
        six = resolve_imds_endpoint_mode(self._core) == "ipv6"
        return str(named or (METADATA_BASE_URL_IPv6 if six else METADATA_BASE_URL))

    def _ask_machine(self) -> Credentials:
        url = self._metadata_url()
        parts = urlsplit(url)
        seconds = float(self._core.get_config_variable("metadata_service_timeout"))
        address = (parts.hostname or "", parts.port or 80)
        # The driver waits twice as long where nothing answers, and tells no reason.
        try:
            socket.create_connection(address, timeout=seconds).close()
        except TimeoutError:
            told = f"the metadata server at {url} did not answer in {seconds:g} s"
            raise SourceEmpty(told) from None
        except OSError as error:
            told = f"the metadata server at {url} cannot be reached: {error.strerror}"
            raise SourceEmpty(told) from None
        found = self._providers["iam-role"].load()
        if found is None:
            raise SourceEmpty(f"the metadata server at {url} offers no role")
        return found


def _maker() -> str:
    """Return who made this machine, in small letters; empty where nothing tells."""
    try:
        return _MAKER.read_text(errors="replace").strip().lower()
    except OSError:
        return ""
