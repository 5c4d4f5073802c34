"""Says in a sentence what is wrong with one setting, and which one was meant.

Pydantic's own words are about Python's types. No sentence tells a value.
"""

import difflib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from dropzone import config_file
from dropzone.settings import Settings

# So alike is what was written wrong; what is less alike is offered if all else fails.
_VERY_NEAR, _NEAR = 0.8, 0.5
_FEW = 3
_NUMBER, _WHOLE = "must be a number", "must be a whole number"
_SENTENCES = {
    "missing": "is missing",
    "too_short": "must not be empty",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "path_type": "must be a path",
}
_UNITS = {
    **{unit: unit for unit in ("seconds", "minutes", "hours", "days")},
    **{unit: unit for unit in ("megabytes", "gigabytes", "characters")},
    "mb": "megabytes",
}
#: What pydantic calls a name that is none of a setting.
_UNKNOWN = {"extra_forbidden", "invalid_key"}


@dataclass(frozen=True, slots=True)
class Meant:
    """What is wrong, and the whole keys of the settings that may have been meant."""

    told: str
    keys: tuple[str, ...] = ()


def meant(problem: Any, place: tuple[str, ...]) -> Meant:
    """Return what to tell of one of pydantic's problems with the settings."""
    kind, value = problem["type"], problem["input"]
    if kind in _UNKNOWN:
        return _unknown(place)
    if kind in {"tuple_type", "model_type"}:
        return Meant(_unreadable(value) or _no_list_or_section(kind, place))
    if kind == "string_type":
        plain = isinstance(value, (list, dict)) or value is None
        return Meant("must be a text" if plain else "must be a text: put it in quotes")
    if kind == "string_pattern_mismatch":
        return Meant(f"must be {_field(place).description}")
    told = _SENTENCES.get(kind)
    if told is None:
        message = problem["msg"].removeprefix("Value error, ")
        return Meant(message.replace("Input should be", "must be", 1))
    parts = place[-1].split("_")
    unit = next((_UNITS[part] for part in parts if part in _UNITS), "")
    if unit and told in {_NUMBER, _WHOLE}:
        told += f" of {unit}, without the unit"
    return Meant(told)


def model_at(place: tuple[str, ...]) -> type[BaseModel] | None:
    """Return the section of the settings at this place."""
    model: type[BaseModel] | None = Settings
    for part in place:
        if model is not None and not part.isdigit():
            field = model.model_fields.get(part)
            model = model_in(field.annotation) if field else None
    return model


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a setting of this type holds, alone or in a list."""
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    found = (model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def _field(place: tuple[str, ...]) -> Any:
    model = model_at(place[:-1])
    return model.model_fields[place[-1]] if model else None


def _unreadable(value: object) -> str:
    """Return why a variable's text is no list or mapping, where it was to be one."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return ""
    try:
        yaml.safe_load(value)
    except yaml.YAMLError as error:
        return config_file.spot(error)[1].replace("the file", "the text", 1)
    return ""


def _no_list_or_section(kind: str, place: tuple[str, ...]) -> str:
    model = model_at(place)
    names = list(model.model_fields) if model else []
    dots = ", …" if len(names) > _FEW else ""
    own = f"settings of its own ({', '.join(names[:_FEW])}{dots})"
    if kind == "model_type":
        return f"must have {own}"
    return f"must be a list, each with {own}" if names else "must be a list: [A, B]"


def _unknown(place: tuple[str, ...]) -> Meant:
    """Name what is nearest: here, elsewhere under the same name, or less alike here."""
    parent, wrong = place[:-1], place[-1].lower().replace("-", "_")
    model = model_at(parent)
    known = sorted(model.model_fields) if model else []
    elsewhere = [key for key, names in _every() if wrong in names]
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=_VERY_NEAR)
    if not near and 0 < len(elsewhere) <= _FEW:
        said = " or ".join(f"{key!r}" for key in elsewhere)
        outside = f", outside of {'.'.join(parent)!r}" if parent else ""
        return Meant(f"there is no such setting; did you mean {said}{outside}?")
    near = near or difflib.get_close_matches(wrong, known, n=1, cutoff=_NEAR)
    told = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    keys = (".".join([*parent, near[0]]),) if near else ()
    return Meant(f"there is no such setting; {told}", keys)


def _every(
    model: type[BaseModel] = Settings, place: tuple[str, ...] = ()
) -> Iterator[tuple[str, set[str]]]:
    """Yield each setting's key, and the names under which people look for it."""
    for name, field in model.model_fields.items():
        yield ".".join([*place, name]), {name, "_".join([*place, name])}
        if below := model_in(field.annotation):
            several = ("0",) if "tuple" in str(field.annotation) else ()
            yield from _every(below, (*place, name, *several))
