"""What ``dropzone doctor`` asks of the services beyond what the work needs."""
# ruff: noqa: TID251 - one of the modules that know the drivers.

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropzone.errors import ServiceUnavailable
from dropzone.sessions import s3_errors

if TYPE_CHECKING:
    from dropzone.sessions.mlflow import MlflowSession
    from dropzone.sessions.s3 import S3Session

_TAG = "dropzone.doctor"


@dataclass(frozen=True, slots=True)
class Answer:
    """What S3 says about an object, besides the object.

    ``encryption`` is as S3 names it, None if it does not say; ``clock`` is how many
    seconds the server is ahead of this machine, a second more or less.
    """

    encryption: str | None
    clock: float


def s3_answer(s3: "S3Session", key: str) -> Answer:
    """Return how S3 keeps ``key``, and what time it is there.

    Raises:
        DropzoneError: S3 does not tell.

    """
    began = time.time()
    try:
        answer = s3.client.head_object(Bucket=s3.bucket, Key=key)
    except s3_errors.DRIVER_ERRORS as error:
        raise s3_errors.translate(error, s3.address, key) from error
    clock = s3_errors.server_time(answer) - (began + time.time()) / 2
    return Answer(answer.get("ServerSideEncryption"), clock)


def write_to_mlflow(mlflow: "MlflowSession") -> None:
    """Set a tag on the experiment, which is made if there is none.

    Raises:
        ServiceUnavailable: this user or this store does not take it.

    """
    experiment = mlflow.ensure_experiment()
    from mlflow.exceptions import MlflowException

    try:
        mlflow.client.set_experiment_tag(experiment, _TAG, str(int(time.time())))
    except MlflowException as error:
        told = " ".join(str(error).split())[:300]
        raise ServiceUnavailable(
            "mlflow", f"{mlflow.address} takes nothing: {told}"
        ) from error
