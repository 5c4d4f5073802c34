"""Proves that each service lets us do what dropzone needs, and names what it does not.

S3 is used below the prefix under a name of its own, and left as it was. Postgres is
asked for the rights of this user. MLflow gets a tag on the experiment, no run.
"""
# ruff: noqa: TID251 - one of the modules that know the S3 driver.

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dropzone import queries
from dropzone.errors import DropzoneError, ServiceUnavailable
from dropzone.sessions import s3_errors
from dropzone.settings import Aws

if TYPE_CHECKING:
    from dropzone.sessions.mlflow import MlflowSession
    from dropzone.sessions.postgres import PostgresSession
    from dropzone.sessions.s3 import S3Session

_RIGHTS = queries.load("dropzone", "sql/rights.sql")["rights"]
_PROBE_TAG = "dropzone.credentials_test"
# S3 refuses the keys themselves: no right would help.
_REFUSED_KEYS = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
)


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that was tried; ``missing`` names the right that it would need."""

    service: str
    tried: str
    works: bool
    told: str = ""
    missing: str = ""
    what_to_do: str = ""
    seconds: float | None = None


def of_s3(s3: "S3Session", aws: Aws) -> Iterator[Proof]:
    """Put, look at, read, list and delete one small object, and begin one in parts."""
    key = f"{aws.prefix}.dropzone-credentials/{secrets.token_hex(8)}"
    bucket = f"arn:aws:s3:::{s3.bucket}"
    below = f"{bucket}/{aws.prefix}*"
    where = {"Bucket": s3.bucket, "Key": key}
    listed = {"Bucket": s3.bucket, "Prefix": aws.prefix, "MaxKeys": 1}
    new = {**where, **_encryption(aws)}
    client = s3.client
    prove = _Prover("s3", s3.address)

    def body() -> bytes:
        return bytes(client.get_object(**where)["Body"].read())

    def parts() -> None:
        begun = client.create_multipart_upload(**new)
        client.abort_multipart_upload(**where, UploadId=begun["UploadId"])

    put = prove(
        "put",
        f"s3:PutObject on {below}",
        lambda: client.put_object(**new, Body=b"dropzone"),
    )
    yield put
    if put.told and not put.missing:
        # Nothing else can work either, and would only say the same again.
        return
    if put.works:
        read = f"s3:GetObject on {below}"
        yield prove("head", read, lambda: client.head_object(**where))
        yield prove("get", read, body)
    yield prove(
        "list", f"s3:ListBucket on {bucket}", lambda: client.list_objects_v2(**listed)
    )
    yield prove("parts", f"s3:AbortMultipartUpload on {below}", parts)
    yield prove(
        "delete", f"s3:DeleteObject on {below}", lambda: client.delete_object(**where)
    )


def _encryption(aws: Aws) -> dict[str, str]:
    # As every upload has it: with a key of the account it needs a right of its own.
    if aws.encryption == "none":
        return {}
    key = {"SSEKMSKeyId": aws.kms_key_id} if aws.kms_key_id else {}
    return {"ServerSideEncryption": aws.encryption, **key}


class _Prover:
    def __init__(self, service: str, address: str) -> None:
        self._service = service
        self._address = address

    def __call__(self, tried: str, right: str, action: Callable[[], object]) -> Proof:
        began = time.monotonic()
        try:
            action()
        except s3_errors.DRIVER_ERRORS as error:
            return self._refused(tried, right, error)
        return Proof(self._service, tried, True, seconds=time.monotonic() - began)

    def _refused(self, tried: str, right: str, error: Exception) -> Proof:
        found = s3_errors.translate(error, self._address, tried)
        code, status = "", 0
        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        denied = code == "AccessDenied" or (
            status == 403 and code not in _REFUSED_KEYS  # noqa: PLR2004 forbidden
        )
        # A wrong clock is refused under the same code.
        denied = denied and "clock" not in found.hint
        if denied and "kms" in found.message.lower():
            right = "kms:GenerateDataKey and kms:Decrypt on the key aws.kms_key_id"
        return Proof(
            self._service,
            tried,
            False,
            found.message,
            right if denied else "",
            f"Allow {right}." if denied else found.hint,
        )


def of_postgres(postgres: "PostgresSession") -> Iterator[Proof]:
    """Connect, and ask for the rights of this user."""
    began = time.monotonic()
    try:
        rows = postgres.query(_RIGHTS)
    except DropzoneError as error:
        yield _failed("postgres", "connect", error)
        return
    yield Proof("postgres", "connect", True, seconds=time.monotonic() - began)
    missing = [row for row in rows if not row["granted"]]
    for row in missing:
        need, mend = row["need"], row["mend"]
        yield Proof(
            "postgres", "rights", False, f"{need} is not granted", need, f"{mend};"
        )
    if not missing:
        yield Proof("postgres", "rights", True)


def of_mlflow(mlflow: "MlflowSession", experiment: str) -> Iterator[Proof]:
    """Look for the experiment (made if it is missing), and write a tag on it."""
    steps: list[tuple[str, Callable[[], object], str]] = [
        ("read", mlflow.ensure_experiment, "READ"),
        ("write", lambda: mlflow.tag_experiment(_PROBE_TAG, _now()), "EDIT"),
    ]
    for tried, action, right in steps:
        began = time.monotonic()
        try:
            action()
        except DropzoneError as error:
            denied = "403" in error.message or "PERMISSION_DENIED" in error.message
            missing = f"{right} on the experiment {experiment!r}" if denied else ""
            yield _failed("mlflow", tried, error, missing)
            return
        yield Proof("mlflow", tried, True, seconds=time.monotonic() - began)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _failed(service: str, tried: str, error: DropzoneError, missing: str = "") -> Proof:
    hint = f"Give this user {missing}." if missing else error.hint
    if isinstance(error, ServiceUnavailable) and service == "mlflow" and not missing:
        hint = "See where its login comes from: dropzone credentials show"
    return Proof(service, tried, False, error.message, missing, hint)
