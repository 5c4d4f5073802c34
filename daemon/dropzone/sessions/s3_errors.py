"""What S3's errors mean for us: repeat the call, pause the step, or refuse the file."""
# ruff: noqa: TID251 - this module translates the errors of the S3 driver.

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.exceptions import ConnectionError as DriverConnectionError

from dropzone.errors import (
    DocumentRejected,
    DropzoneError,
    NotFound,
    ServiceUnavailable,
    SourceChanged,
)

DRIVER_ERRORS = (ClientError, BotoCoreError)
#: What the driver refuses before it sends anything.
UNSENDABLE = (ParamValidationError,)

_TRANSIENT = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "RequestTimeoutException"}
    | {"ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException"}
    | {"ConditionalRequestConflict", "503", "500", "502", "504"}
)
_KEYS = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"}
    | {"SignatureDoesNotMatch", "TokenRefreshRequired", "401", "403"}
)
_OLD_KEYS = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
    # A refusal of HEAD has no body; an expired token comes as a plain 400 then.
    | {"TokenRefreshRequired", "400"}
)
_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_HINTS = {
    "AccessDenied": "Give these credentials s3:GetObject, PutObject and ListBucket.",
    "403": "Check the key pair and its rights with 'dropzone doctor'.",
    "ExpiredToken": "Renew the credentials with 'dropzone credentials refresh'.",
    "InvalidAccessKeyId": "Check the key: dropzone credentials show",
    "SignatureDoesNotMatch": "Check the secret key: dropzone credentials show",
    "RequestTimeTooSkewed": "Set the clock, as with: timedatectl set-ntp true.",
    "NoSuchBucket": "Create the bucket, or set aws.default_bucket.",
    "404": "Create the bucket, or set aws.default_bucket.",
    "PermanentRedirect": "Set aws.region to the region of the bucket.",
    "AuthorizationHeaderMalformed": "Set aws.region to the region of the bucket.",
    "NoSuchUpload": "The upload is started again.",
}
# Refusals that are about this object; all others are about the surroundings.
_REFUSALS = frozenset(
    {"EntityTooLarge", "InvalidArgument", "InvalidURI", "KeyTooLongError"}
    | {"MetadataTooLarge", "InvalidRequest", "InvalidObjectState"}
)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may work in a moment."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return (
            _code(error) in _TRANSIENT
            or status == HTTPStatus.TOO_MANY_REQUESTS
            or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
    return isinstance(
        error, (HTTPClientError, DriverConnectionError, IncompleteReadError)
    )


def is_about_keys(error: BaseException) -> bool:
    """Whether other credentials may be taken where these are refused."""
    if isinstance(error, ClientError):
        return _code(error) in _KEYS
    return isinstance(error, NoCredentialsError)


def is_about_old_keys(error: BaseException) -> bool:
    """Whether the credentials were good once, so that newer ones may be there."""
    return isinstance(error, ClientError) and _code(error) in _OLD_KEYS


def is_mute(error: BaseException) -> bool:
    """Whether it is a refusal of HEAD, which has no body and so no reason."""
    return isinstance(error, ClientError) and _code(error) in {"400", "403"}


def is_missing_bucket(error: BaseException) -> bool:
    """Whether S3 said that there is no such bucket."""
    return isinstance(error, ClientError) and _code(error) == "NoSuchBucket"


def is_absent(error: BaseException) -> bool:
    """Whether S3 said that there is no such thing."""
    return isinstance(error, ClientError) and _code(error) in _ABSENT


def is_unknown_upload(error: BaseException) -> bool:
    """Whether S3 said that it knows no such upload in parts."""
    return isinstance(error, ClientError) and _code(error) == "NoSuchUpload"


def translate(error: Exception, address: str, key: str) -> DropzoneError:
    """Return the error of ours that says what to do next."""
    if isinstance(error, (NoCredentialsError, CredentialRetrievalError)):
        return _without_keys(error)
    if isinstance(error, ParamValidationError):
        return DocumentRejected(f"S3 cannot take {key!r}: {error}")
    if not isinstance(error, ClientError):
        told = " ".join(str(error).split())
        return ServiceUnavailable("s3", f"{address} does not answer: {told}")
    return _refused(error, address, key)


def _refused(error: ClientError, address: str, key: str) -> DropzoneError:
    code = _code(error)
    if code in {"BadDigest", "XAmzContentChecksumMismatch"}:
        return SourceChanged(f"{key}: S3 received other bytes than were hashed.")
    told = error.response.get("Error", {}).get("Message") or code
    if code == "NoSuchKey":
        return NotFound(f"There is no {key!r} at {address}.")
    if code in _REFUSALS:
        return DocumentRejected(f"S3 refuses {key!r}: {code}: {told}")
    if code == "NoSuchBucket":
        told = f"{told} (wanted for {key!r})"
    # Servers other than AWS say so under the code AccessDenied.
    skewed = "request time" in told and "server's time" in told
    hint = _HINTS.get("RequestTimeTooSkewed" if skewed else code, "")
    return ServiceUnavailable("s3", f"{address} refuses: {code}: {told}", hint=hint)


def _without_keys(error: BotoCoreError) -> ServiceUnavailable:
    if isinstance(error, NoCredentialsError):
        return ServiceUnavailable(
            "s3",
            "There are no AWS credentials.",
            hint="Where they were looked for: dropzone credentials show",
        )
    source, told = error.kwargs["provider"], error.kwargs["error_msg"]
    return ServiceUnavailable(
        "s3",
        f"The AWS credentials of {source} cannot be had: {told}",
        hint="It is tried again. To look closer: dropzone credentials show",
    )


def server_time(answer: Mapping[str, Any]) -> float:
    """Return the server's clock, in epoch seconds, or ours when it does not tell."""
    stamp = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(stamp).timestamp() if stamp else time.time()


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
