"""The rules: what each one finds, and what to write instead."""

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """``sentence`` is completed by the finding's subject."""

    id: str
    name: str
    sentence: str
    instead: str


_ALL = (
    Rule(
        "DZ001",
        "unreadable",
        f"cannot be read as Python {sys.version_info[0]}.{sys.version_info[1]}: {{}}",
        "Mend the file, or allow DZ001 for it: nothing in it was looked at.",
    ),
    Rule(
        "DZ002",
        "unused-allowance",
        "{} allows nothing that was found",
        "Remove the allowance: what it allowed is gone.",
    ),
    Rule(
        "DZ003",
        "wrong-allowance",
        "this comment allows nothing: {}",
        "Write: # dropzone: allow DZ101 the reason",
    ),
    Rule(
        "DZ101",
        "aws-client",
        "{} makes an AWS client outside of the session pool",
        "Use pool.s3 or pool.bedrock of a SessionPool that was handed in.",
    ),
    Rule(
        "DZ102",
        "aws-session",
        "{} makes an AWS session outside of the session pool",
        "Let SessionPool.from_config() find region and credentials.",
    ),
    Rule(
        "DZ201",
        "postgres-connection",
        "{} connects to Postgres outside of the session pool",
        "with pool.postgres.connection() as connection: ...",
    ),
    Rule(
        "DZ202",
        "postgres-pool",
        "{} makes a second pool of Postgres connections",
        "Use pool.postgres; its size is postgres.pool_size.",
    ),
    Rule(
        "DZ203",
        "sqlalchemy-engine",
        "{} makes an engine with connections of its own",
        "Use pool.postgres.query(...), or allow the one place that makes the engine.",
    ),
    Rule(
        "DZ301",
        "mlflow-global",
        "{} uses MLflow's global state",
        "Use pool.mlflow, which names its tracking server and its run.",
    ),
    Rule(
        "DZ302",
        "mlflow-client",
        "{} makes an MLflow client outside of the session pool",
        "Use pool.mlflow of a SessionPool that was handed in.",
    ),
    Rule(
        "DZ401",
        "aws-access-key",
        "an AWS access key is written in the code: {}",
        "Revoke the key, and give its successor by a role, a profile or the "
        "environment.",
    ),
    Rule(
        "DZ402",
        "aws-secret-key",
        "an AWS secret is written in the code: {}",
        "Revoke the key, and give its successor by a role, a profile or the "
        "environment.",
    ),
    Rule(
        "DZ403",
        "connection-string",
        "a connection string holds a password: {}",
        "Change the password, and give the string as DATABASE_URL.",
    ),
    Rule(
        "DZ404",
        "secret",
        "a secret is written in the code: {}",
        "Change it, and give it in the environment or from a file of secrets.",
    ),
    Rule(
        "DZ501",
        "session-manager",
        "{} is a session manager of its own",
        "from dropzone import SessionPool, or dropzone.compat for the old names.",
    ),
)

RULES = {rule.id: rule for rule in _ALL}


def wrong(names: Iterable[str]) -> str:
    """Return what is wrong with these rule ids or their beginnings, or ``""``."""
    names = list(names)
    if not names:
        return "it names no rule"
    for name in names:
        if not (
            name.startswith("DZ") and any(known.startswith(name) for known in RULES)
        ):
            near = difflib.get_close_matches(name.upper(), RULES, n=1)
            meant = (
                f"did you mean {near[0]!r}?" if near else f"known: {', '.join(RULES)}"
            )
            return f"there is no rule {name[:20]!r}; {meant}"
    return ""
