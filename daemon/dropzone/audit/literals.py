"""Finds keys, passwords and connection strings that are written in the code.

A literal counts by its own form (an AWS access key, an address with a password) or by
the name it is given to. Placeholders do not count. Of an access key the first
four characters are told, of a secret nothing.
"""

import ast
import re
from collections.abc import Iterator

from dropzone.audit.naming import Named
from dropzone.audit.texts import nodes, template, texts

Literal = tuple[ast.expr, str, str]

_HINTS = ("akia", "asia", "passw", "passphrase", "pwd", "secret")
_MORE_HINTS = (
    "session_token",
    "sessiontoken",
    "access_key",
    "accesskey",
    "api_key",
    "apikey",
)
_ADDRESS = re.compile(r"://[^\s'\"]{0,300}@")
_ACCESS_KEY = re.compile(
    r"(?<![A-Za-z0-9+/])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9+/=])"
)
# From the middle, and with limits: a megabyte of base64 must not take minutes.
_USERINFO = re.compile(r"://[^\s:/@'\"?#]{0,200}:([^\s/@'\"]{1,300})@")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_SECRET_KEY = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9/+]{40}")
_VARIED = 20
_KEYWORDS = re.compile(
    r"(?:^|[\s;?&])(?:password|passwd|pwd)\s*=\s*('[^']+'|[^\s;&'\"]+)", re.IGNORECASE
)
_BESIDE = re.compile(
    r"(?:^|[\s;?&/])(?:host|hostaddr|server|dbname|database|user|uid|port)\s*=",
    re.IGNORECASE,
)
_IN_QUERY = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:(?P<aws>(?:aws|s3|minio)_?secret(?:_?(?:access_?)?key)?"
    r"|secret_?access_?key|aws_?session_?token)"
    r"|(?:pg|my)?(?:password|passwd)|passphrase|\w+_pwd|secret|secret_?key"
    r"|api_?key)$"
)
_ACCESS_NAME = re.compile(r"(?:^|_)(?:aws_?access_?key(?:_?id)?|access_?key_?id)$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z0-9]+")
_TYPES = frozenset({"string", "str", "text", "password", "bool", "bytes", "varchar"})
_PLACEHOLDER = re.compile(
    r"\{[^}]*\}|\$\{?\w+\}?|\$\(.*\)|%\(?\w*\)?s?|<.*>|\[.*\]|[*x.\-_?]+|:\w+|\.\.\.",
    re.IGNORECASE,
)
_TOLD_PLACEHOLDERS = re.compile(
    r"(?:your|my|the|some|enter|insert|replace|change)[ _-].*|none|null|redacted|todo",
    re.IGNORECASE,
)
_CAPITALS = frozenset({"PASSWORD", "PASSWD", "PASS", "PWD", "PW", "SECRET"})


def is_suspicious(text: str) -> bool:
    """Return False for source that holds nothing this module looks for."""
    low = text.lower()
    if any(hint in low for hint in (*_HINTS, *_MORE_HINTS)):
        return True
    return "://" in low and _ADDRESS.search(low) is not None


def literals(tree: ast.Module) -> Iterator[Literal]:
    """Yield ``(node, rule, what may be told)`` for every secret in the file."""
    found_nodes = nodes(tree)
    named = Named([node for node, _ in found_nodes])
    seen: set[int] = set()
    for node, name, beside in named.pairs():
        if id(node) not in seen and (found := _by_name(node, name, beside)):
            seen.add(id(node))
            yield found
    for node, is_doc in texts(found_nodes):
        if id(node) not in seen and (found := _by_form(node, is_doc)):
            yield found


def _by_form(node: ast.expr, is_doc: bool) -> Literal | None:
    text = template(node)
    if text is None:
        return None
    if key := _ACCESS_KEY.search(text):
        return node, "DZ401", masked(key[0])
    if _SECRET_KEY.fullmatch(text) and len(set(text)) > _VARIED:
        return node, "DZ402", "40 random characters, like those of AWS"
    # Documentation has examples of addresses by the thousand.
    told = None if is_doc else _password_in(text)
    return (node, "DZ403", told) if told else None


def _password_in(text: str) -> str | None:
    """Return what may be told of a connection string with a password."""
    for match in _USERINFO.finditer(text):
        if not is_placeholder(match[1]):
            return _address(text, match)
    if _BESIDE.search(text) or _IN_QUERY.match(text):
        words = (match[1].strip("'") for match in _KEYWORDS.finditer(text))
        if not all(map(is_placeholder, words)):
            return "... password=******** ..."
    return None


def _address(text: str, match: re.Match[str]) -> str:
    scheme = _SCHEME.search(text[max(0, match.start() - 30) : match.start()])
    return f"{scheme[0] if scheme else '{}'}://...:********@..."


def _by_name(node: ast.expr, name: str, beside: bool) -> Literal | None:
    text = template(node)
    if text is None or not _could_be_secret(node, text, beside):
        return None
    snake = _CAMEL.sub("_", name).replace("-", "_").lower()
    is_a_name = _is_a_name(text, snake)
    if _ACCESS_NAME.search(snake):
        return None if is_a_name else (node, "DZ401", masked(text))
    match = _SECRET_NAME.search(snake)
    if match is None and not (beside and snake in {"pwd", "pw"}):
        return None
    told = f"{name} = ********"
    if match is not None and match["aws"]:
        return None if is_a_name else (node, "DZ402", told)
    plausible = beside or not (is_a_name or text[:1] in "/.")
    return (node, "DZ404", told) if plausible else None


def _could_be_secret(node: ast.expr, text: str, beside: bool) -> bool:
    if not text or is_placeholder(text) or _ACCESS_KEY.search(text):
        return False
    # Put together at run time, or a sentence for people.
    made = "{}" in text and not isinstance(node, ast.Constant)
    return not made and (beside or not any(map(str.isspace, text.strip())))


def _is_a_name(text: str, name: str) -> bool:
    """Return True for the name of a field or variable instead of its value."""
    value = _CAMEL.sub("_", text).lower()
    if value.replace("-", "_") == name or (text.isidentifier() and text.isupper()):
        return True
    if value in _TYPES:
        return True
    words = set(_WORD.findall(value.replace("_", " ")))
    last = name.rpartition("_")[2]
    return last in words and re.fullmatch(r"[\w.:/\- ]+", text) is not None


def is_placeholder(text: str) -> bool:
    """Return True for what stands where a secret will be put later."""
    bare = text.strip()
    return (
        not bare
        or bare in _CAPITALS
        or bool(
            _PLACEHOLDER.fullmatch(bare)
            or _TOLD_PLACEHOLDERS.fullmatch(bare)
            or (not re.search(r"[^\W_]", re.sub(r"\{[^}]*\}", "", bare)))
        )
    )


def masked(secret: str) -> str:
    """Return what may be told of an access key."""
    return f"{secret[:4]}..." if _ACCESS_KEY.fullmatch(secret) else "********"
