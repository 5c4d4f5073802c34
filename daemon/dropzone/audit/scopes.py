"""What names stand for, scope by scope, as Python itself would look them up."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from dropzone.audit.catalogue import NOTHING, Values

_MOST = 16


@dataclass(eq=False, slots=True)
class Scope:
    """One module, class or function; ``owner`` is the value it defines, or ``""``.

    A name that is bound to something of no interest is there, with no values: it hides
    the same name further out.
    """

    parent: "Scope | None" = None
    owner: str = ""
    name: str = ""
    is_class: bool = False
    env: dict[str, Values] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)

    @property
    def path(self) -> str:
        """The qualified name, as in ``Class.method``."""
        above = self.parent.path if self.parent else ""
        return ".".join(filter(None, [above, self.name]))

    @property
    def module(self) -> "Scope":
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    @property
    def holder(self) -> "Scope":
        """The class around this method, or the nearest function or module."""
        scope = self
        while scope.parent is not None and not scope.is_class:
            scope = scope.parent
        return scope

    def find(self, name: str) -> "Scope | None":
        """Return the scope in which ``name``, used here, is bound."""
        scope: Scope | None = self
        while scope is not None:
            # What a class body binds is not seen from inside its methods.
            if name in scope.env and (scope is self or not scope.is_class):
                return scope
            scope = scope.parent
        return None


def merged(ends: Iterable[dict[str, Values]]) -> dict[str, Values]:
    """Return what names stand for after one of several branches was taken."""
    first, *others = ends
    env = dict(first)
    for other in others:
        for name, values in other.items():
            known = env.get(name)
            env[name] = values if known is None else limited(known | values)
    return env


def limited(values: Values) -> Values:
    """Return at most so many values as real code has for one name."""
    return values if len(values) <= _MOST else frozenset(sorted(values)[:_MOST])


class Memory:
    """What is known of a file's own functions and attributes; grows with each pass."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Values] = {}
        self.grown = False

    def add(self, owner: str, name: str, values: Values) -> None:
        """Remember that ``owner``'s ``name`` may be any of ``values``."""
        known = self._known.get((owner, name), NOTHING)
        if not values <= known:
            self._known[owner, name] = limited(known | values)
            self.grown = self._known[owner, name] != known

    def get(self, owner: str, name: str) -> Values:
        return self._known.get((owner, name), NOTHING)


def own(node: ast.AST) -> str:
    """Return the value of something that the file defines itself."""
    return f"@{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"


def strings(values: Values) -> list[str]:
    return [value[1:] for value in values if value.startswith("'")]
