"""TLS from certificate files, which are read again when they were renewed."""

import os
import ssl
import time
from pathlib import Path

from dropzone import log
from dropzone.errors import ConfigurationError
from dropzone.text import display

_LOOK_SECONDS = 5.0
_Look = tuple[tuple[int, int, int], ...] | None


class Certificate:
    """The certificate in force. Used by the server's thread only."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read both files.

        Raises:
            ConfigurationError: they cannot be read, or do not fit together.

        """
        self._files = (certificate, key)
        self._log = log.get("web")
        self._next_look = 0.0
        self._seen = self._look()
        self.context = self._loaded()

    def look(self) -> None:
        """Take renewed files, now and then; new connections get them.

        Files that do not fit together, as while they are being written, are told once
        and left: the former ones stay in force.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            # Never into the context in force first: half of a pair would break it.
            self._loaded()
            self.context.load_cert_chain(*self._files)
        except (ConfigurationError, OSError) as error:
            told = error.message if isinstance(error, ConfigurationError) else ""
            self._log.error(
                "certificate not renewed",
                reason=told or str(error),
                hint="Mend the files of web.tls_certificate and web.tls_key; "
                "the former ones stay in force.",
            )
        else:
            self._log.info("certificate renewed", file=display(bytes(self._files[0])))

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._files
        try:
            # A password would be asked for on the terminal.
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            shown = f"{display(bytes(certificate))} and {display(bytes(key))}"
            raise ConfigurationError(
                f"The certificate and key {shown} cannot be used: {_why(error)}.",
                hint="web.tls_certificate is a PEM file with the whole chain, and "
                "web.tls_key its key without a password; the daemon must be able to "
                "read both.",
            ) from error
        return context

    def _look(self) -> _Look:
        try:
            found = [os.stat(file) for file in self._files]
        except OSError:
            return None
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def _no_password() -> str:
    raise ValueError("the key has a password")


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "it holds no PEM"
    return getattr(error, "strerror", None) or str(error)
