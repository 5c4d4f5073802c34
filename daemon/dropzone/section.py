"""What every section of the settings is made of."""

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen; an unknown key is an error, and no error shows a value."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )


def web_address(url: str) -> str:
    """Return an http address, or raise what pydantic tells of it."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and parts.hostname
        _ = parts.port
    except ValueError:
        fine = None
    if not fine:
        raise ValueError("must be an address such as https://host:9000")
    return url
