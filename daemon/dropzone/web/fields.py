"""What a form of our own sends: fields, of which there are few."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

from dropzone.web.problems import Problem

_MOST = 200


def of(body: bytes) -> Mapping[str, Sequence[str]]:
    """Return the values of each field.

    Raises:
        Problem: no form of ours has so many.

    """
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MOST)
    except ValueError:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"The form has more than {_MOST} fields.",
            "Choose fewer at once.",
        ) from None
