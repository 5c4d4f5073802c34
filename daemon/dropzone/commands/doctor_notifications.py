"""What ``dropzone doctor`` says of the targets of messages."""

import threading
from collections.abc import Iterator

from dropzone import status
from dropzone.commands.diagnosis import Diagnosis, ok, problem, warning
from dropzone.commands.output import span
from dropzone.commands.render_status import span_since
from dropzone.notifications import courier, targets, wording
from dropzone.notifications.courier import Delivery, Parcel
from dropzone.notifications.message import Message
from dropzone.settings import Settings

_MEND = (
    "Mend it in notifications (docs/notifications.md), then: dropzone doctor --notify"
)
_NAME_ONE = "Name a target: notifications.targets, docs/notifications.md"


def targets_of(settings: Settings, *, send: bool) -> Iterator[Diagnosis]:
    """Look whether each target is understood; with ``send`` give it a message."""
    found = targets.of(settings.notifications)
    if not found:
        none = "nobody is told when something fails"
        yield warning("messages", none, _NAME_ONE) if send else ok("messages", none)
        return
    zone = settings.zones[0].name
    message = Message.of("test", zone, wording.test()) if send else None
    answers = courier.deliver(
        [Parcel(target, message) for target in found],
        settings.notifications.timeout_seconds,
        threading.Event(),
    )
    for target, answer in zip(found, answers, strict=True):
        yield _of(f"messages, {target.name}", answer, send=send)
    yield from _of_the_daemon(settings)


def _of(checked: str, answer: Delivery, *, send: bool) -> Diagnosis:
    if answer.problem:
        return problem(checked, answer.problem, _MEND)
    if not send:
        return ok(checked, "is understood; to send it one: dropzone doctor --notify")
    took = span(answer.seconds) if answer.seconds >= 1 else ""
    took = took or f"{answer.seconds * 1000:.0f} ms"
    return ok(checked, f"took a message, in {took}", answer.seconds)


def _of_the_daemon(settings: Settings) -> Iterator[Diagnosis]:
    """Tell what the running daemon could not send."""
    shown = status.of(settings.zones[0], history=False)
    for target in shown.notifications.get("targets", ()):
        if target["problem"]:
            since = span_since(target["since"])
            yield warning(
                f"messages, {target['name']}",
                f"the daemon could send none for {since}: {target['problem']}",
                "They are kept, and sent again by themselves.",
            )
