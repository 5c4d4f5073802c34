"""What retention is asked for, and what came of it. Pure."""

from dataclasses import dataclass, field

from dropzone.models import Job
from dropzone.settings import Retention

DAY = 86_400.0
_GIGABYTE = 1_000_000_000
#: Reasons beyond this number are counted, not told one by one.
_TOLD = 1000


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings in seconds and bytes; None keeps everything."""

    processed_seconds: float | None = None
    processed_bytes: int | None = None
    free_bytes: int | None = None
    failed_seconds: float | None = None
    failed_last_copy: bool = False
    receipts_seconds: float | None = None
    journal_seconds: float | None = None

    @classmethod
    def of(cls, settings: Retention) -> "Rules":
        def seconds(days: float | None) -> float | None:
            return None if days is None else days * DAY

        def count(gigabytes: float | None) -> int | None:
            return None if gigabytes is None else int(gigabytes * _GIGABYTE)

        return cls(
            processed_seconds=seconds(settings.processed_days),
            processed_bytes=count(settings.processed_gigabytes),
            free_bytes=count(settings.free_gigabytes),
            failed_seconds=seconds(settings.failed_days),
            failed_last_copy=settings.failed_last_copy,
            receipts_seconds=seconds(settings.receipts_days),
            journal_seconds=seconds(settings.journal_days),
        )

    @property
    def any(self) -> bool:
        """True when some rule may remove something."""
        return self != Rules(failed_last_copy=self.failed_last_copy)


@dataclass(slots=True)
class Sizes:
    """What is left in ``processed/``, and what is free on the disk, in bytes."""

    processed: int
    free: int

    def without(self, size: int) -> None:
        self.processed -= size
        self.free += size


def due(job: Job, rules: Rules, sizes: Sizes, now: float) -> str | None:
    """Return the setting by which a processed file is to go, or None."""
    age = now - (job.ended_at or now)
    if rules.processed_seconds is not None and age >= rules.processed_seconds:
        return "retention.processed_days"
    if rules.processed_bytes is not None and sizes.processed > rules.processed_bytes:
        return "retention.processed_gigabytes"
    if rules.free_bytes is not None and sizes.free < rules.free_bytes:
        return "retention.free_gigabytes"
    return None


@dataclass(frozen=True, slots=True)
class Left:
    """Something that was removed, or with a dry run would be: ``what`` and why."""

    what: str
    path: bytes
    size: int
    rule: str
    job: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that a rule names, and why it stays."""

    what: str
    path: bytes
    reason: str
    job: str = ""


@dataclass(slots=True)
class Report:
    """What one pass did in a zone. ``left`` and ``kept`` hold the first thousand."""

    zone: str
    dry_run: bool
    files: int = 0
    bytes: int = 0
    rows: int = 0
    months: int = 0
    kept_files: int = 0
    left: list[Left] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    def goes(self, left: Left) -> None:
        self.files += left.what == "file"
        self.months += left.what == "receipts"
        self.bytes += left.size
        if len(self.left) < _TOLD:
            self.left.append(left)

    def stays(self, kept: Kept) -> None:
        self.kept_files += kept.what == "file"
        if len(self.kept) < _TOLD:
            self.kept.append(kept)
