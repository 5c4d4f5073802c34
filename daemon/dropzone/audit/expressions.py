"""Follows expressions: what each one stands for, and which calls make a client."""

import ast
from collections.abc import Callable, Iterable, Mapping

from dropzone.audit import catalogue
from dropzone.audit.catalogue import INSTANCES, NOTHING, Values, canonical
from dropzone.audit.scopes import Memory, Scope, limited, own, strings

RETURNS = "()"
_BUILTINS = frozenset({"getattr", "__import__", "vars"})
_LONGEST_TEXT = 300
# A class is handed to these in order to be called.
_CALLERS = frozenset(
    {"map", "starmap", "submit", "to_thread", "run_in_executor", "run_sync", "Depends"}
    | {"lru_cache", "cache", "Factory", "Singleton", "Resource", "Thread"}
)
_CALLED = frozenset({"default_factory", "factory", "target", "creator"})
Report = Callable[[ast.expr, str, str], None]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Expressions:
    """One pass over the expressions of a file; ``Statements`` adds the rest."""

    def __init__(
        self, memory: Memory, foreign: Mapping[str, Values], report: Report
    ) -> None:
        """``foreign`` is what other files of the code base export, by dotted name."""
        self.memory = memory
        self.foreign = foreign
        self.report = report
        self.scope = Scope()
        self.loaded: set[tuple[str, str]] = set()
        self.aliases: dict[tuple[str, str], tuple[ast.expr, str, Scope]] = {}
        self.later: list[tuple[Function, Scope]] = []
        self._handlers: dict[type[ast.AST], Callable[..., Values]] = {
            ast.Name: self._name,
            ast.Constant: self._constant,
            ast.JoinedStr: self._joined,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.Call: self._call,
            ast.IfExp: self._either,
            ast.BoolOp: lambda node: self._any(node.values),
            ast.Await: lambda node: self.value(node.value),
            ast.NamedExpr: self._walrus,
            ast.Lambda: self._lambda,
            ast.Yield: self.give,
            ast.YieldFrom: self.give,
            ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.DictComp: self._comprehension,
        }

    def value(self, node: ast.expr) -> Values:
        """Return what an expression stands for; the calls inside it are reported."""
        handler = self._handlers.get(type(node))
        if handler is not None:
            found: Values = handler(node)
            return found
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.used(child)
        return NOTHING

    def used(self, node: ast.expr | None) -> Values:
        """Follow an expression whose value goes somewhere that is not followed."""
        if node is None:
            return NOTHING
        values = self.value(node)
        self._handed_on(node, values, catalogue.is_function)
        return values

    def give(self, node: ast.Return | ast.Yield | ast.YieldFrom) -> Values:
        """Remember what the function around ``node`` returns or yields."""
        self.remember(self.scope.owner, RETURNS, self.used(node.value))
        return NOTHING

    def remember(self, owner: str, name: str, values: Values) -> None:
        # What makes clients is reported where it is handed on, and no second time.
        self.memory.add(owner, name, quiet(values))

    def bind(self, target: ast.expr, values: Values, source: ast.expr | None) -> None:
        """Let a target of an assignment stand for ``values``."""
        if isinstance(target, ast.Name):
            self.bind_name(target.id, values)
            self._alias((own_key(self.scope), target.id), values, source)
        elif isinstance(target, ast.Attribute):
            self._bind_attribute(target, values, source)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for item in target.elts:
                self.bind(item, NOTHING, None)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, NOTHING, None)
        else:
            self.used(target)
            if source is not None:
                self._handed_on(source, values, catalogue.is_function)

    def bind_name(self, name: str, values: Values) -> None:
        scope = self.scope
        if name in scope.elsewhere:
            above = scope.parent.find(name) if scope.parent else None
            scope = above or scope.module
            self.memory.add("global", name, values)
            values |= scope.env.get(name, NOTHING)
        scope.env[name] = values

    def _bind_attribute(
        self, target: ast.Attribute, values: Values, source: ast.expr | None
    ) -> None:
        owners = [one for one in self.value(target.value) if one.startswith("@")]
        for owner in owners:
            key = owner.removesuffix(RETURNS)
            self.memory.add(key, target.attr, values)
            self._alias((key, target.attr), values, source)
        if not owners and source is not None:
            self._handed_on(source, values, catalogue.is_function)

    def _alias(
        self, key: tuple[str, str], values: Values, source: ast.expr | None
    ) -> None:
        makers = sorted(filter(catalogue.is_function, values))
        if makers and source is not None:
            self.aliases[key] = (source, makers[0], self.scope)

    def _handed_on(
        self, node: ast.expr, values: Values, counts: Callable[[str], bool]
    ) -> None:
        for value in sorted(values):
            if counts(value) and (rule := catalogue.rule_of(value)):
                self.report(node, rule, value)
                return

    def _name(self, node: ast.Name) -> Values:
        scope = self.scope.find(node.id)
        late = self.memory.get("global", node.id)
        if scope is None:
            builtin = node.id in _BUILTINS and not late
            return frozenset({f"builtins.{node.id}"}) if builtin else late
        self.loaded.add((own_key(scope), node.id))
        values = scope.env[node.id]
        return values | late if late and scope.parent is None else values

    def _constant(self, node: ast.Constant) -> Values:
        text = node.value
        if isinstance(text, str) and len(text) <= _LONGEST_TEXT:
            return frozenset({f"'{text}"})
        return NOTHING

    def _joined(self, node: ast.JoinedStr) -> Values:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.used(part.value)
                self.used(part.format_spec)
        first = node.values[0] if node.values else None
        # Enough to see the scheme of an address.
        return self._constant(first) if isinstance(first, ast.Constant) else NOTHING

    def _attribute(self, node: ast.Attribute) -> Values:
        return self._member(self.value(node.value), node.attr)

    def _member(self, bases: Values, name: str) -> Values:
        found: set[str] = set()
        for base in bases:
            if base.startswith("@"):
                owner = base.removesuffix(RETURNS)
                self.loaded.add((owner, name))
                found |= self.memory.get(owner, name)
            elif not base.startswith("'"):
                whole = canonical(f"{base}.{name}")
                found |= self.foreign.get(whole, {whole})
        return limited(frozenset(found))

    def _subscript(self, node: ast.Subscript) -> Values:
        base, names = self.value(node.value), strings(self.used(node.slice))
        found: set[str] = set()
        for one in base:
            for name in names:
                if one == "sys.modules":
                    found |= _module(name)
                elif one.endswith(".__dict__"):
                    found |= self._member(
                        frozenset({one.removesuffix(".__dict__")}), name
                    )
        return frozenset(found)

    def _either(self, node: ast.IfExp) -> Values:
        self.value(node.test)
        return self._any([node.body, node.orelse])

    def _any(self, nodes: Iterable[ast.expr]) -> Values:
        return limited(frozenset().union(*[self.value(node) for node in nodes]))

    def _walrus(self, node: ast.NamedExpr) -> Values:
        values = self.value(node.value)
        self.bind(node.target, values, node.value)
        return values

    def _lambda(self, node: ast.Lambda) -> Values:
        self.defaults(node.args)
        self.later.append((node, self.scope))
        return frozenset({own(node)})

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> Values:
        outer = self.scope
        self.scope = Scope(outer, outer.owner)
        try:
            for part in node.generators:
                self.bind(part.target, self.elements(part.iter), None)
                for condition in part.ifs:
                    self.used(condition)
            results = (
                [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            )
            for result in results:
                self.used(result)
        finally:
            self.scope = outer
        return NOTHING

    def elements(self, node: ast.expr) -> Values:
        """Return what a loop over ``node`` yields, where that is written down."""
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return self._any(node.elts)
        self.used(node)
        return NOTHING

    def defaults(self, arguments: ast.arguments) -> None:
        for default in (*arguments.defaults, *arguments.kw_defaults):
            self.used(default)

    def _call(self, node: ast.Call) -> Values:
        functions = self.value(node.func)
        for function in functions:
            if special := self._SPECIAL.get(function):
                return special(self, node)
        self._arguments(node)
        results: set[str] = set()
        for function in sorted(functions):
            results |= self._result(function)
            rule = catalogue.rule_of(function)
            if rule and not (rule == "DZ203" and self._is_other_database(node)):
                self.report(node, rule, function)
        return limited(frozenset(results))

    def _result(self, function: str) -> Values:
        if function.startswith("@"):
            returned = self.memory.get(function, RETURNS)
            return returned | {f"{function}{RETURNS}"}
        made = canonical(f"{function}{RETURNS}")
        return frozenset({made}) if made in INSTANCES else NOTHING

    def _arguments(self, node: ast.Call, start: int = 0) -> None:
        named = node.func
        caller = named.attr if isinstance(named, ast.Attribute) else ""
        caller = named.id if isinstance(named, ast.Name) else caller
        for argument in node.args[start:]:
            values = self.used(argument)
            if caller in _CALLERS:
                self._handed_on(argument, values, catalogue.is_class)
        for keyword in node.keywords:
            values = self.used(keyword.value)
            if keyword.arg in _CALLED or caller in _CALLERS:
                self._handed_on(keyword.value, values, catalogue.is_class)

    def _is_other_database(self, node: ast.Call) -> bool:
        """Return True when every address this call can get is not of Postgres."""
        named = [word.value for word in node.keywords if word.arg == "url"]
        texts = strings(self._any([*node.args[:1], *named]))
        schemes = [text.partition("://")[0] for text in texts if "://" in text]
        return bool(schemes) and not any(one.startswith("postgres") for one in schemes)

    def _getattr(self, node: ast.Call) -> Values:
        if len(node.args) < 2:  # noqa: PLR2004 an object and a name
            self._arguments(node)
            return NOTHING
        bases, names = self.value(node.args[0]), strings(self.value(node.args[1]))
        self._arguments(node, start=2)
        return frozenset().union(*[self._member(bases, name) for name in names])

    def _partial(self, node: ast.Call) -> Values:
        values = self.value(node.args[0]) if node.args else NOTHING
        self._arguments(node, start=1)
        if node.args:
            self._handed_on(node, values, catalogue.is_class)
        return frozenset(value for value in values if not catalogue.is_class(value))

    def _import(self, node: ast.Call) -> Values:
        named = self.value(node.args[0]) if node.args else NOTHING
        self._arguments(node, start=1)
        return frozenset().union(*[_module(name) for name in strings(named)])

    def _dunder_import(self, node: ast.Call) -> Values:
        modules = self._import(node)
        submodule = len(node.args) > 3 or any(  # noqa: PLR2004 fromlist is the fourth
            keyword.arg == "fromlist" for keyword in node.keywords
        )
        if submodule:
            return modules
        return frozenset(module.partition(".")[0] for module in modules)

    def _vars(self, node: ast.Call) -> Values:
        values = self.value(node.args[0]) if node.args else NOTHING
        return frozenset(f"{value}.__dict__" for value in values)

    _SPECIAL: Mapping[str, Callable[["Expressions", ast.Call], Values]] = {
        "builtins.getattr": _getattr,
        "builtins.vars": _vars,
        "builtins.__import__": _dunder_import,
        "importlib.__import__": _dunder_import,
        "importlib.import_module": _import,
        "functools.partial": _partial,
        "functools.partialmethod": _partial,
    }


def own_key(scope: Scope) -> str:
    """Return what tells the names of one scope from those of another."""
    return scope.owner or f"scope {id(scope)}"


def quiet(values: Values) -> Values:
    """Return the values that make no client by being called."""
    if any(map(catalogue.is_function, values)):
        return frozenset(one for one in values if not catalogue.is_function(one))
    return values


def _module(name: str) -> Values:
    return frozenset({canonical(name)})
