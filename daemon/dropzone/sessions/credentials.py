"""Where the AWS credentials come from, and how to say so without showing them."""
# ruff: noqa: TID251 - the one place, with its neighbours, that knows the AWS driver.

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from dropzone.errors import ConfigurationError

if TYPE_CHECKING:
    import boto3

_CHAIN = {
    "env": "environment variables",
    "assume-role": "assumed role of the AWS profile",
    "assume-role-with-web-identity": "web identity token",
    "sso": "AWS single sign-on",
    "login": "AWS console login",
    "shared-credentials-file": "AWS credentials file",
    "custom-process": "credential process of the AWS profile",
    "config-file": "AWS configuration file",
    "container-role": "role of the container",
    "iam-role": "role of the instance",
}


@dataclass(frozen=True)
class AwsCredentials:
    """A fixed key pair, or None for whatever the AWS driver's own search finds.

    ``isolated`` keeps the user's AWS profile and files out: keys of the embedded
    server must work whatever they say, a profile that does not exist included.
    """

    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    profile: str | None = None
    isolated: bool = False

    @classmethod
    def embedded(cls, access_key: str, secret_key: str) -> "AwsCredentials":
        """Keys of the S3 server that dropzone runs itself."""
        return cls(SecretStr(access_key), SecretStr(secret_key), isolated=True)

    @classmethod
    def configured(
        cls,
        access_key: SecretStr | None,
        secret_key: SecretStr | None,
        profile: str | None,
    ) -> "AwsCredentials":
        """Take what the settings say: keys, else a profile, else the driver's search.

        A session token in the environment means temporary keys, which only the
        driver's own search reads completely.
        """
        if os.environ.get("AWS_SESSION_TOKEN"):
            return cls(profile=profile)
        return cls(access_key, secret_key, None if access_key else profile)

    def session(self, region: str) -> "boto3.Session":
        """Return a new driver session.

        Raises:
            ConfigurationError: the named profile does not exist.

        """
        import boto3
        import botocore.session
        from botocore.exceptions import ProfileNotFound

        nowhere = (None, None, os.devnull, None)
        shut = {
            "profile": (None, None, None, None),
            "config_file": nowhere,
            "credentials_file": nowhere,
        }
        core = botocore.session.Session(session_vars=shut if self.isolated else None)
        try:
            return boto3.Session(
                aws_access_key_id=_plain(self.access_key),
                aws_secret_access_key=_plain(self.secret_key),
                profile_name=self.profile,
                region_name=region,
                botocore_session=core,
            )
        except ProfileNotFound as error:
            raise ConfigurationError(
                f"aws.profile: {error}.", hint="Run 'aws configure list-profiles'."
            ) from error

    def describe(self, session: "boto3.Session | None" = None) -> str:
        """Name the source that wins; with ``session``, what its search found."""
        if self.isolated:
            return "the embedded S3 server"
        if self.access_key is not None:
            return "aws.access_key_id in the settings or the environment"
        if session is None:
            return "the search of the AWS driver"
        found = session.get_credentials()
        if found is None:
            return "none found"
        return _CHAIN.get(found.method, str(found.method))


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
