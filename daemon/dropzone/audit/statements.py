"""Follows the statements of one file in the order in which Python runs them.

Bodies of functions come after the code around them, as they do at run time. A file is
gone through again until nothing new is known of what its own functions return.
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence

from dropzone.audit import catalogue
from dropzone.audit.catalogue import INSTANCES, NOTHING, Values, canonical
from dropzone.audit.expressions import RETURNS, Expressions, Function, quiet
from dropzone.audit.scopes import Memory, Scope, limited, merged, own

_PASSES = 4
_PROPERTIES = frozenset({"property", "cached_property"})
Found = dict[tuple[ast.expr, str], tuple[str, str]]


def follow(
    tree: ast.Module, foreign: Mapping[str, Values], package: str
) -> tuple[Found, dict[str, Values]]:
    """Return what makes clients, and what the module exports that could.

    The first holds ``(value, qualified name around it)`` by node and rule. ``package``
    is the dotted name that relative imports start from.
    """
    memory = Memory()
    found: Found = {}
    exports: dict[str, Values] = {}
    for _ in range(_PASSES):
        found = {}
        memory.grown = False
        one = Statements(memory, foreign, found, package)
        exports = one.module(tree)
        if not memory.grown:
            break
    return found, exports


class Statements(Expressions):
    """One pass over a whole file."""

    def __init__(
        self,
        memory: Memory,
        foreign: Mapping[str, Values],
        found: Found,
        package: str,
    ) -> None:
        def report(node: ast.expr, rule: str, value: str) -> None:
            found.setdefault((node, rule), (value, self.scope.path))

        super().__init__(memory, foreign, report)
        self._package = package
        self._statements: dict[type[ast.AST], Callable[..., object]] = {
            ast.Import: self._imports,
            ast.ImportFrom: self._imports_from,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.If: self._if,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.Match: self._match,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.Return: self.give,
            ast.Global: self._elsewhere,
            ast.Nonlocal: self._elsewhere,
            ast.Delete: self._delete,
        }

    def module(self, tree: ast.Module) -> dict[str, Values]:
        """Go through the file; return what its names stand for in the end."""
        top = self.scope
        self.block(tree.body)
        exports = dict(top.env)
        while self.later:
            body, scope = self.later.pop(0)
            self._body(body, scope)
        for key, (source, value, scope) in self.aliases.items():
            if key not in self.loaded and (rule := catalogue.rule_of(value)):
                self.scope = scope
                self.report(source, rule, value)
        return {name: values for name, values in exports.items() if values}

    def block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            handler = self._statements.get(type(statement))
            if handler is not None:
                handler(statement)
            else:
                for child in ast.iter_child_nodes(statement):
                    if isinstance(child, ast.expr):
                        self.used(child)

    def _imports(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            self.bind_name(alias.asname or name, self._module(name))

    def _imports_from(self, node: ast.ImportFrom) -> None:
        module = self._absolute(node)
        for alias in node.names:
            if alias.name == "*":
                self._import_star(module)
            else:
                whole = f"{module}.{alias.name}"
                self.bind_name(alias.asname or alias.name, self._module(whole))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self._package.split(".")
        above = ".".join(parts[: len(parts) - node.level + 1])
        # Outside of what is known it stays relative, and is no module of that name.
        return f"{above}.{node.module}" if node.module else above

    def _import_star(self, module: str) -> None:
        for name in catalogue.children(module):
            self.bind_name(name, self._module(f"{module}.{name}"))
        inside = f"{module}."
        for whole, values in self.foreign.items():
            name = whole.removeprefix(inside)
            if whole.startswith(inside) and "." not in name and name[0] != "_":
                self.bind_name(name, values)

    def _module(self, name: str) -> Values:
        if name in self.foreign:
            return self.foreign[name]
        ours = name.partition(".")[0] == "dropzone"
        return NOTHING if ours else frozenset({canonical(name)})

    def _assign(self, node: ast.Assign) -> None:
        first = node.targets[0]
        if len(node.targets) == 1 and _pairs(first, node.value):
            sources = node.value.elts  # type: ignore[attr-defined]
            found = [self.value(source) for source in sources]
            for target, *one in zip(first.elts, found, sources, strict=True):  # type: ignore[attr-defined]
                self.bind(target, *one)
            return
        single = any(isinstance(t, (ast.Name, ast.Attribute)) for t in node.targets)
        values = self.value(node.value) if single else self.used(node.value)
        for target in node.targets:
            self.bind(target, values, node.value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        told = self.annotation(node.annotation)
        if node.value is not None:
            self.bind(node.target, told | self.value(node.value), node.value)
        elif told and isinstance(node.target, ast.Name):
            self.bind_name(node.target.id, told)

    def _augmented(self, node: ast.AugAssign) -> None:
        self.used(node.value)
        self.bind(node.target, NOTHING, None)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self.bind(node.target, self.elements(node.iter), None)
        self._branches(lambda: self.block(node.body), lambda: None)
        self.block(node.orelse)

    def _while(self, node: ast.While) -> None:
        self.value(node.test)
        self._branches(lambda: self.block(node.body), lambda: None)
        self.block(node.orelse)

    def _if(self, node: ast.If) -> None:
        self.value(node.test)
        self._branches(lambda: self.block(node.body), lambda: self.block(node.orelse))

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            values = self.value(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, values, None)
        self.block(node.body)

    def _try(self, node: "ast.Try | ast.TryStar") -> None:
        self._branches(
            lambda: self.block([*node.body, *node.orelse]),
            *[
                lambda handler=handler: self._handler(handler)
                for handler in node.handlers
            ],
        )
        self.block(node.finalbody)

    def _handler(self, handler: ast.ExceptHandler) -> None:
        self.used(handler.type)
        if handler.name:
            self.bind_name(handler.name, NOTHING)
        self.block(handler.body)

    def _match(self, node: ast.Match) -> None:
        self.used(node.subject)
        self._branches(
            *[lambda case=case: self._case(case) for case in node.cases],
            lambda: None,
        )

    def _case(self, case: ast.match_case) -> None:
        for pattern in ast.walk(case.pattern):
            name = getattr(pattern, "name", None) or getattr(pattern, "rest", None)
            if isinstance(name, str):
                self.bind_name(name, NOTHING)
        self.used(case.guard)
        self.block(case.body)

    def _branches(self, *ways: Callable[[], None]) -> None:
        scope, before = self.scope, self.scope.env
        ends = []
        for way in ways:
            scope.env = dict(before)
            way()
            ends.append(scope.env)
        scope.env = merged(ends)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.used(decorator)
        self.defaults(node.args)
        self.later.append((node, self.scope))
        value = frozenset({own(node)})
        if any(_last_name(one) in _PROPERTIES for one in node.decorator_list):
            value = self.memory.get(own(node), RETURNS)
        self.bind_name(node.name, value)

    def _class(self, node: ast.ClassDef) -> None:
        bases = [self.value(base) for base in node.bases]
        for other in (*node.decorator_list, *(word.value for word in node.keywords)):
            self.used(other)
        value = frozenset({own(node)}).union(*bases)
        outer = self.scope
        self.scope = Scope(outer, own(node), node.name, is_class=True)
        self.block(node.body)
        for name, values in self.scope.env.items():
            self.memory.add(own(node), name, values)
        self.scope = outer
        self.bind_name(node.name, limited(value))

    def _elsewhere(self, node: ast.Global | ast.Nonlocal) -> None:
        self.scope.elsewhere.update(node.names)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.scope.env.pop(target.id, None)
            else:
                self.used(target)

    def _body(self, node: Function, outer: Scope) -> None:
        name = getattr(node, "name", "")
        self.scope = outer
        env = self._parameters(node)
        self.scope = Scope(outer, own(node), name, env=env)
        if isinstance(node, ast.Lambda):
            self.remember(own(node), RETURNS, self.used(node.body))
        else:
            self.used(node.returns) if isinstance(node.returns, ast.Call) else None
            self.block(node.body)

    def _parameters(self, node: Function) -> dict[str, Values]:
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args]
        every = [*named, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        env = {
            one.arg: self.annotation(one.annotation) for one in every if one is not None
        }
        defaults = arguments.defaults
        given = [
            *zip(named[len(named) - len(defaults) :], defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        for one, default in given:
            if default is not None:
                env[one.arg] |= quiet(self.value(default))
        if self.scope.is_class and named and not _is_static(node):
            env[named[0].arg] = frozenset({f"{self.scope.owner}{RETURNS}"})
        return env

    def annotation(self, node: ast.expr | None) -> Values:
        """Return the instances that an annotated name can hold."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = _parsed(node.value)
        if isinstance(node, ast.BinOp):
            return self.annotation(node.left) | self.annotation(node.right)
        if isinstance(node, ast.Subscript):
            inner = node.slice
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return frozenset().union(*map(self.annotation, parts))
        if not isinstance(node, (ast.Name, ast.Attribute)):
            return NOTHING
        return frozenset().union(*map(_instances, self.value(node)))


def _instances(value: str) -> Values:
    made = f"{value}{RETURNS}" if value.startswith("@") else canonical(f"{value}()")
    return frozenset({made} if made in INSTANCES or made.startswith("@") else ())


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _pairs(target: ast.expr, value: ast.expr) -> bool:
    """Return True for ``a, b = c, d``."""
    both = (ast.Tuple, ast.List)
    return (
        isinstance(target, both)
        and isinstance(value, both)
        and len(target.elts) == len(value.elts)
        and not any(isinstance(one, ast.Starred) for one in (*target.elts, *value.elts))
    )


def _is_static(node: Function) -> bool:
    decorators: Iterable[ast.expr] = getattr(node, "decorator_list", ())
    return any(_last_name(one) == "staticmethod" for one in decorators)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
