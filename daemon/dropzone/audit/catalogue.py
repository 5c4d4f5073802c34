"""The names that make clients and connections, by the rule each one breaks.

A *value* is what an expression stands for, as text: ``boto3.client`` is that function,
``boto3.Session()`` an instance of that class, ``'s3`` the string ``s3``, and a value
that begins with ``@`` is defined in the file itself.
"""

import re
from functools import lru_cache

Values = frozenset[str]
NOTHING: Values = frozenset()

_SESSIONS = ("boto3.Session()", "aioboto3.Session()")
_LOW_SESSIONS = ("botocore.session.Session()", "aiobotocore.session.AioSession()")
INSTANCES = frozenset((*_SESSIONS, *_LOW_SESSIONS))

_FUNCTIONS = {
    "DZ101": (
        *("boto3.client", "boto3.resource", "aioboto3.client", "aioboto3.resource"),
        *(
            f"{session}.{name}"
            for session in _SESSIONS
            for name in ("client", "resource")
        ),
        *(f"{session}.create_client" for session in _LOW_SESSIONS),
    ),
    "DZ102": (
        "boto3.setup_default_session",
        "aioboto3.setup_default_session",
        "botocore.session.get_session",
        "aiobotocore.session.get_session",
    ),
    "DZ201": (
        *("psycopg.connect", "psycopg2.connect", "asyncpg.connect"),
        *("psycopg.Connection.connect", "psycopg.AsyncConnection.connect"),
        *("aiopg.connect", "pg8000.connect", "pg8000.dbapi.connect"),
    ),
    "DZ202": ("asyncpg.create_pool", "aiopg.create_pool"),
    "DZ203": (
        *("sqlalchemy.create_engine", "sqlalchemy.engine_from_config"),
        "sqlalchemy.create_pool_from_url",
        "sqlalchemy.ext.asyncio.create_async_engine",
        "sqlalchemy.ext.asyncio.async_engine_from_config",
        "sqlalchemy.ext.asyncio.create_async_pool_from_url",
        *("sqlmodel.create_engine", "aiopg.sa.create_engine"),
    ),
}
_CLASSES = {
    "DZ102": tuple(session.removesuffix("()") for session in sorted(INSTANCES)),
    "DZ201": ("psycopg2.extensions.connection", "pg8000.native.Connection"),
    "DZ202": (
        *("psycopg_pool.ConnectionPool", "psycopg_pool.AsyncConnectionPool"),
        *("psycopg_pool.NullConnectionPool", "psycopg_pool.AsyncNullConnectionPool"),
        *("psycopg2.pool.SimpleConnectionPool", "psycopg2.pool.ThreadedConnectionPool"),
        "psycopg2.pool.PersistentConnectionPool",
    ),
    "DZ302": ("mlflow.MlflowClient",),
}
_RULE_OF = {
    name: rule
    for table in (_FUNCTIONS, _CLASSES)
    for rule, names in table.items()
    for name in names
}
_CLASS_NAMES = frozenset(name for names in _CLASSES.values() for name in names)

# The same thing under the other names it can be reached by.
_SAME = {
    "boto3.session.Session": "boto3.Session",
    "boto3._get_default_session()": "boto3.Session()",
    "boto3.DEFAULT_SESSION": "boto3.Session()",
    "aioboto3.session.Session": "aioboto3.Session",
    "botocore.session.get_session()": "botocore.session.Session()",
    "aiobotocore.session.get_session()": "aiobotocore.session.AioSession()",
    "aiobotocore.get_session": "aiobotocore.session.get_session",
    "psycopg.connection.Connection": "psycopg.Connection",
    "psycopg.connection_async.AsyncConnection": "psycopg.AsyncConnection",
    "psycopg2._connect": "psycopg2.connect",
    "psycopg_pool.pool.ConnectionPool": "psycopg_pool.ConnectionPool",
    "psycopg_pool.pool_async.AsyncConnectionPool": "psycopg_pool.AsyncConnectionPool",
    "psycopg_pool.null_pool": "psycopg_pool",
    "psycopg_pool.null_pool_async": "psycopg_pool",
    "asyncpg.connection.connect": "asyncpg.connect",
    "asyncpg.pool.create_pool": "asyncpg.create_pool",
    "aiopg.pool.create_pool": "aiopg.create_pool",
    "sqlalchemy.engine.create.create_engine": "sqlalchemy.create_engine",
    "sqlalchemy.engine.create_engine": "sqlalchemy.create_engine",
    "sqlalchemy.engine.engine_from_config": "sqlalchemy.engine_from_config",
    "sqlalchemy.ext.asyncio.engine": "sqlalchemy.ext.asyncio",
    "mlflow.tracking.fluent": "mlflow",
    "mlflow.tracking.client": "mlflow",
    "mlflow.tracking": "mlflow",
    "mlflow.client": "mlflow",
}
_BY_ROOT: dict[str, list[tuple[str, str]]] = {}
for _old, _new in _SAME.items():
    _BY_ROOT.setdefault(_old.partition(".")[0], []).append((_old, _new))

_LEADING = frozenset(
    name[:end]
    for name in (*_RULE_OF, *_SAME)
    for end, character in enumerate(name)
    if character == "."
)

_MLFLOW = re.compile(
    r"mlflow\.(?:(?:start|end|log|set|get|search|create|delete|register|load|restore"
    r"|update|flush|add|finalize|initialize|enable|disable)_\w+|active_run"
    r"|last_active_run|autolog|run|evaluate|trace|login"
    r"|[a-z]\w*(?:\.\w+)*\.(?:log_model|load_model|autolog))"
)

_MANAGERS = frozenset(
    {"UnifiedSessionManager", "get_unified_session_manager"}
    | {"get_global_session_manager"}
)
#: Source without any of these has nothing whose names need to be followed.
MENTIONED = re.compile(
    "boto|psycopg|asyncpg|aiopg|pg8000|sqlalchemy|sqlmodel|mlflow|"
    + "|".join(sorted(_MANAGERS))
)


@lru_cache(maxsize=65536)
def rule_of(value: str) -> str | None:
    """Return the rule that a call of ``value`` breaks, if any."""
    if rule := _RULE_OF.get(value):
        return rule
    if value.startswith("mlflow.") and _MLFLOW.fullmatch(value):
        return "DZ301"
    # Its other names are those of the file's own, or of dropzone.compat.
    if value.rpartition(".")[2] in _MANAGERS and value[0] not in "@'":
        return "DZ501"
    return None


def is_function(value: str) -> bool:
    """Return True when handing ``value`` on lets somebody else make a client."""
    return not is_class(value) and rule_of(value) is not None


def is_class(value: str) -> bool:
    """Return True for a class, which may be named without being called."""
    return value in _CLASS_NAMES or value.endswith("SessionManager")


def leads(value: str) -> bool:
    """Return True when a client can be made from ``value`` in one or more steps."""
    return value in _LEADING or value in INSTANCES or rule_of(value) is not None


@lru_cache(maxsize=65536)
def canonical(value: str) -> str:
    """Return the name under which the tables above know ``value``."""
    for old, new in _BY_ROOT.get(value.partition(".")[0], ()):
        end = len(old)
        if value.startswith(old) and (len(value) == end or value[end] in ".("):
            return canonical(new + value[end:])
    return value


@lru_cache(maxsize=65536)
def children(module: str) -> frozenset[str]:
    """Return the names a star import takes from ``module`` that can matter."""
    if canonical(module) == "mlflow":
        return _FLUENT
    inside = f"{module}."
    names = {
        known.removeprefix(inside).partition(".")[0]
        for known in (*_RULE_OF, *_SAME)
        if known.startswith(inside)
    }
    if module in {"functools", "importlib", "sys"}:
        names |= {"partial", "import_module", "modules"}
    return frozenset(name for name in names if not name.startswith("_"))


_FLUENT = frozenset(
    {
        "MlflowClient",
        "start_run",
        "end_run",
        "active_run",
        "autolog",
        "log_metric",
        "log_metrics",
    }
    | {"log_param", "log_params", "log_artifact", "log_artifacts", "log_dict"}
    | {"log_figure", "log_image", "log_input", "log_table", "log_text", "set_tag"}
    | {"set_tags", "set_tracking_uri", "set_registry_uri", "set_experiment"}
    | {"create_experiment", "register_model", "search_runs", "get_run"}
)
