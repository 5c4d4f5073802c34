"""The names that the literals of a file are given to."""

import ast
from collections.abc import Iterator, Sequence

Given = tuple[ast.expr, str, bool]

_PARTNERS = frozenset(
    {"host", "hostname", "user", "username", "dbname", "database", "db", "server"}
    | {"dsn", "uid", "hostaddr"}
)
_CONNECTING = frozenset(
    {"connect", "create_engine", "create_pool", "create_async_engine", "ConnectionPool"}
    | {"AsyncConnectionPool"}
)
_WRAPPERS = frozenset(
    {"SecretStr", "SecretBytes", "Secret", "Field", "str", "quote_plus"}
)


class Named:
    """The literals of a file by the names they are given to."""

    def __init__(self, nodes: Sequence[ast.AST]) -> None:
        self._nodes = nodes
        self._constants: dict[str, ast.expr] = {}
        twice: set[str] = set()
        for node in self._nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                if node.id in self._constants:
                    twice.add(node.id)
                self._constants[node.id] = node
        for node in self._nodes:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._constants[node.targets[0].id] = node.value
        for name in twice:
            del self._constants[name]

    def pairs(self) -> Iterator[Given]:
        """Yield ``(value, name, whether it is given along with a host or a user)``."""
        for node in self._nodes:
            for given, name, beside in _given(node):
                for value in _unwrapped(given) if name else ():
                    yield self._known(value), name, beside

    def _known(self, value: ast.expr) -> ast.expr:
        if isinstance(value, ast.Name):
            return self._constants.get(value.id, value)
        return value


def _unwrapped(value: ast.expr) -> Iterator[ast.expr]:
    """Yield what a value may be: one of several, or what it is wrapped around."""
    match value:
        case ast.BoolOp(values=several):
            yield from several
        case ast.IfExp(body=one, orelse=other):
            yield from (one, other)
        case ast.Call(func=ast.Attribute(value=ast.Constant() as text, attr="encode")):
            yield text
        case ast.Call(func=called, args=[inner, *_]) if _name_of(called) in _WRAPPERS:
            yield inner
        case ast.Call(func=called, keywords=words) if _name_of(called) in _WRAPPERS:
            yield from (word.value for word in words if word.arg == "default")
        case _:
            yield value


def _given(node: ast.AST) -> Iterator[Given]:
    match node:
        case ast.Call():
            yield from _of_call(node)
        case ast.Dict():
            yield from _of_dict(node)
        case ast.Assign():
            yield from _of_targets(node)
        case ast.AnnAssign(value=ast.expr()) | ast.NamedExpr():
            yield node.value, _name_of(node.target), False  # type: ignore[misc]
        case ast.arguments():
            yield from _of_defaults(node)
        case _:
            pass


def _of_targets(node: ast.Assign) -> Iterator[Given]:
    for target in node.targets:
        match target, node.value:
            case ast.Tuple(elts=names), ast.Tuple(elts=values):
                yield from ((v, _name_of(n), False) for n, v in zip(names, values))  # noqa: B905 a starred name takes several
            case _:
                yield node.value, _name_of(target), False


def _of_dict(node: ast.Dict) -> Iterator[Given]:
    names = [key.value if isinstance(key, ast.Constant) else "" for key in node.keys]
    beside = any(str(name).lower() in _PARTNERS for name in names)
    for name, value in zip(names, node.values, strict=True):
        if isinstance(name, str):
            yield value, name, beside


def _of_call(node: ast.Call) -> Iterator[Given]:
    called = node.func
    last = called.attr if isinstance(called, ast.Attribute) else _name_of(called)
    names = {word.arg.lower() for word in node.keywords if word.arg}
    beside = bool(names & _PARTNERS) or last in _CONNECTING
    for word in node.keywords:
        if word.arg:
            yield word.value, word.arg, beside
    # The environment's get() and setdefault() take a name and a value.
    match node.args:
        case [ast.Constant(value=str(name)), default, *_] if name.isidentifier():
            yield default, name, False
        # Options of a command: "--password", default="...".
        case [ast.Constant(value=str(option)), *_] if option.startswith("--"):
            words = [word.value for word in node.keywords if word.arg == "default"]
            yield from ((word, option.lstrip("-"), False) for word in words)


def _of_defaults(node: ast.arguments) -> Iterator[Given]:
    named = [*node.posonlyargs, *node.args]
    given = [
        *zip(named[len(named) - len(node.defaults) :], node.defaults, strict=True),
        *zip(node.kwonlyargs, node.kw_defaults, strict=True),
    ]
    for one, default in given:
        if default is not None:
            yield default, one.arg, False


def _name_of(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return ""
