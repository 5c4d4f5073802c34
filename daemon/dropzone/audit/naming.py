"""The names that the literals of a file are given to."""

import ast
from collections.abc import Iterator

Given = tuple[ast.expr, str, bool]

_PARTNERS = frozenset(
    {"host", "hostname", "user", "username", "dbname", "database", "db", "server"}
    | {"dsn", "uid", "hostaddr"}
)
_CONNECTING = frozenset(
    {"connect", "create_engine", "create_pool", "create_async_engine", "ConnectionPool"}
    | {"AsyncConnectionPool"}
)


class Named:
    """The literals of a file by the names they are given to."""

    def __init__(self, tree: ast.Module) -> None:
        self._nodes = list(ast.walk(tree))
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
            for value, name, beside in _given(node):
                yield self._known(value), name, beside

    def _known(self, value: ast.expr) -> ast.expr:
        if isinstance(value, ast.Name):
            return self._constants.get(value.id, value)
        return value


def _given(node: ast.AST) -> Iterator[Given]:
    match node:
        case ast.Call():
            yield from _of_call(node)
        case ast.Dict():
            yield from _of_dict(node)
        case ast.Assign():
            yield from ((node.value, _name_of(one), False) for one in node.targets)
        case ast.AnnAssign(value=ast.expr()) | ast.NamedExpr():
            yield node.value, _name_of(node.target), False  # type: ignore[misc]
        case ast.arguments():
            yield from _of_defaults(node)
        case _:
            pass


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
