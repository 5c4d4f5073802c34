"""The texts of a file as they are written, and which of them are documentation."""

import ast
from collections.abc import Iterator, Sequence


def template(node: ast.expr) -> str | None:
    """Return a text as it is written, ``{}`` for what is only known at run time."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes):
            return node.value.decode("latin-1")
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _sum(node)
    return None


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.FormattedValue):
        node = node.value
    known = template(node)
    return "{}" if known is None else known


def _sum(node: ast.expr) -> str | None:
    parts = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts.append(_term(node.right))
        node = node.left
    parts.append(_term(node))
    if all(part is None for part in parts):
        return None
    return "".join("{}" if part is None else part for part in reversed(parts))


def _term(node: ast.expr) -> str | None:
    # A sum on the right is in brackets; nobody writes many of those.
    return None if isinstance(node, ast.BinOp) else template(node)


def nodes(tree: ast.Module) -> list[tuple[ast.AST, ast.AST]]:
    """Return every node with its parent, but for those without content."""
    found: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    # The list grows while it is read. ast.walk takes four times as long.
    for node, _ in found:
        for value in node.__dict__.values():
            if type(value) is list:
                found.extend(
                    (item, node) for item in value if isinstance(item, ast.AST)
                )
            elif isinstance(value, ast.AST) and value._fields:
                found.append((value, node))
    return found


def texts(
    found: Sequence[tuple[ast.AST, ast.AST]],
) -> Iterator[tuple[ast.expr, bool]]:
    """Yield the whole texts among ``found``, and whether each is documentation."""
    for node, parent in found:
        whole = isinstance(node, (ast.Constant, ast.JoinedStr)) or _is_sum(node)
        if whole and not (isinstance(parent, ast.JoinedStr) or _is_sum(parent)):
            yield node, isinstance(parent, ast.Expr)  # type: ignore[misc]


def _is_sum(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
