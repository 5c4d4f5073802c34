"""The commands ``credentials show``, ``test`` and ``refresh``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dropzone import services
from dropzone.commands import access
from dropzone.config import Loaded
from dropzone.sessions import Health, origins, proof
from dropzone.sessions.origins import Credentials
from dropzone.sessions.proof import Proof
from dropzone.sessions.settings import mlflow_settings, postgres_settings, s3_settings
from dropzone.settings import Settings


@dataclass(frozen=True, slots=True)
class Renewed:
    """The credentials of a service as they are now, and whether it takes them."""

    service: str
    source: str | None
    told: str
    #: Epoch time; None where they do not run out.
    expires: float | None
    works: bool
    problem: str = ""
    what_to_do: str = ""


def show(loaded: Loaded) -> list[Credentials]:
    """Return for each service which source won, and why the others did not.

    Raises:
        ConfigurationError: the settings name a profile that is not there.

    """
    settings = services.without_own_addresses(loaded.settings)
    if settings.embeds_s3:
        s3 = origins.of_ours("s3")
    else:
        s3 = origins.of_s3(s3_settings(settings, None))
    if settings.embeds_postgres:
        postgres = origins.of_ours("postgres")
    else:
        postgres = origins.of_postgres(postgres_settings(settings, None), loaded)
    return [s3, postgres, origins.of_mlflow(mlflow_settings(settings), loaded)]


def prove(settings: Settings) -> Iterator[Proof]:
    """Use each service as dropzone does, with the least that it needs.

    Embedded servers that are not running are started for the moment.
    """
    with access.sessions(settings) as pool:
        if settings.embeds_s3:
            pool.s3.ensure_bucket()
        yield from proof.of_s3(pool.s3, settings.aws)
        yield from proof.of_postgres(pool.postgres)
        yield from proof.of_mlflow(pool.mlflow, settings.mlflow.experiment_name)


def refresh(loaded: Loaded) -> Iterator[Renewed]:
    """Get new credentials where they run out; see whether each service takes them."""
    with access.sessions(services.without_own_addresses(loaded.settings)) as pool:
        checks: dict[str, Callable[[], Health]] = {
            "s3": pool.s3.check,
            "postgres": pool.postgres.check,
            "mlflow": pool.mlflow.check,
        }
        for found in show(loaded):
            health = checks[found.service]() if found.source else None
            yield Renewed(
                found.service,
                found.source,
                found.told,
                found.expires,
                works=health is not None and bool(health.healthy),
                problem=found.problem or (health.error if health else "") or "",
                what_to_do=found.what_to_do,
            )
