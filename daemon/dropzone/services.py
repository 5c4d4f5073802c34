"""The daemon's way to its services: runs the embedded ones, and makes the pool."""

import threading
from collections.abc import Callable

from dropzone import heartbeats, log, threads
from dropzone.embedded import EmbeddedServices, ServiceAddresses, remembered
from dropzone.errors import DropzoneError, ServiceUnavailable, Stopping
from dropzone.heartbeats import Heartbeats
from dropzone.pauses import Pause
from dropzone.sessions import SessionPool
from dropzone.sessions.settings import mlflow_settings, tracking_uri
from dropzone.settings import Settings

_CHECK_SECONDS = 1.0
_LONGEST_PAUSE = 30.0


def embedded(settings: Settings, stop: threading.Event) -> EmbeddedServices | None:
    """Return the servers that the settings leave to us, not yet started."""
    if not settings.embeds_postgres and not settings.embeds_s3:
        return None
    return EmbeddedServices(
        settings.services_directory,
        postgres=settings.embeds_postgres,
        s3=settings.embeds_s3,
        s3_port=settings.embedded.s3_port,
        stopping=stop,
    )


def without_own_addresses(settings: Settings) -> Settings:
    """Return the settings without addresses that are those of our embedded servers.

    Whoever put the lines of ``dropzone services env`` into the shell and starts the
    daemon there means the embedded servers, which then must be started.
    """
    settings = _without_own_store(settings)
    own = remembered(settings.services_directory)
    if own is None:
        return settings
    postgres, aws = settings.postgres, settings.aws
    if postgres.url and postgres.url.get_secret_value() == own.database_url:
        postgres = postgres.model_copy(update={"url": None})
    if aws.endpoint_url and aws.endpoint_url == own.s3_endpoint:
        update = {"endpoint_url": None, "default_bucket": None}
        keys = {"access_key_id": None, "secret_access_key": None}
        aws = aws.model_copy(update={**update, **keys})
    return settings.model_copy(update={"postgres": postgres, "aws": aws})


def _without_own_store(settings: Settings) -> Settings:
    mlflow = settings.mlflow
    nameless = mlflow.model_copy(update={"tracking_uri": None})
    own = settings.model_copy(update={"mlflow": nameless})
    same = mlflow.tracking_uri == tracking_uri(mlflow_settings(own))
    return own if same else settings


class Services:
    """One thread that starts the embedded servers, tells when, and keeps them alive."""

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        ready: Callable[[SessionPool], None],
        broken: Callable[[BaseException], None],
        hearts: Heartbeats | None = None,
    ) -> None:
        """``ready`` is called once, from the thread, with the pool of sessions."""
        self._hearts = hearts or Heartbeats()
        self._settings = settings
        self._stop = stop
        self._ready = ready
        self._broken = broken
        self._servers = embedded(settings, stop)
        self._log = log.get("services")
        self.pool: SessionPool | None = None
        self.pause: Pause | None = None
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)

    def embedded_figures(self) -> dict[str, tuple[bool, int]]:
        """Return whether each server of our own serves, and its restarts."""
        if self._servers is None:
            return {}
        return {
            name: (serves, self._servers.restarts[name])
            for name, serves in self._servers.serving().items()
        }

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> bool:
        return threads.end([self._thread], seconds)

    def close(self) -> None:
        """Close the sessions, then the servers they lead to."""
        if self.pool is not None:
            self.pool.close()
        if self._servers is not None:
            self._servers.stop()

    def _run(self) -> None:
        try:
            with self._hearts.loop("services"):
                self._serve()
        except Stopping:
            return
        except Exception as error:  # noqa: BLE001 told to the daemon, which ends
            self._log.exception("services failed")
            self._broken(error)

    def _serve(self) -> None:
        addresses = self._start_servers()
        pool = SessionPool.from_settings(self._settings, addresses, stop=self._stop)
        self.pool = pool
        self._ready(pool)
        while not self._stop.wait(_CHECK_SECONDS):
            heartbeats.beat()
            self._check(addresses)

    def _start_servers(self) -> ServiceAddresses | None:
        pause = 1.0
        while self._servers is not None:
            try:
                addresses = self._servers.start()
            except ServiceUnavailable as error:
                self._note(error)
                if self._stop.wait(pause):
                    raise Stopping("The daemon is stopping.") from None
                heartbeats.beat()
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self.pause = None
                return addresses
        return None

    def _check(self, addresses: ServiceAddresses | None) -> None:
        if self._servers is None:
            return
        try:
            self._servers.check()
        except ServiceUnavailable as error:
            self._note(error)
            return
        self.pause = None
        if self._servers.addresses != addresses:
            raise DropzoneError(
                "The embedded servers have other addresses than before.",
                hint="Start the daemon again; it finds them.",
            )

    def _note(self, error: ServiceUnavailable) -> None:
        if self.pause is None:
            self._log.warning("service down", reason=error.message, hint=error.hint)
            self.pause = Pause.of("services", error)
