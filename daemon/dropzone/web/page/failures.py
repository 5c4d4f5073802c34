"""What failed, by its reason: trying it again, or setting it aside."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from dropzone.web.api import models
from dropzone.web.page.desk import View, Visit
from dropzone.web.page.forms import Fields, Form
from dropzone.web.page.messages import Message
from dropzone.web.problems import Problem

_MOST_LINES = 20


def _failures(visit: Visit) -> Mapping[str, Any]:
    found: models.Failures = visit.ask("failures")
    return {"failures": found, "groups": [_told(group) for group in found.groups]}


def _told(group: models.FailureGroup) -> Mapping[str, Any]:
    key = {"reason": group.reason, **({"step": group.step} if group.step else {})}
    mark = hashlib.sha256(repr(key).encode()).hexdigest()[:12]
    every = urlencode({"open": "true", **key})
    found = {job.collection for job in group.jobs}
    return {
        "group": group,
        "key": f"g{mark}",
        "all": f"/files?{every}",
        "collection": found.pop() if len(found) == 1 else "default",
    }


VIEWS = (View("/failures", "failures.html", _failures, "failures"),)


def _chosen(fields: Fields) -> Mapping[str, Any]:
    jobs = list(dict.fromkeys(fields.all("job")))
    if not jobs:
        raise Problem(422, "No file was chosen.", "Tick the files first.")
    return {"body": {"jobs": jobs}}


def _alike(fields: Fields) -> Mapping[str, Any]:
    # Browsers send every end of a line as two characters.
    given = {
        name: fields.all(name)[0].replace("\r\n", "\n")
        for name in ("reason", "step")
        if fields.all(name)
    }
    return {"body": given}


def _put_back(told: models.PutBacks) -> Message:
    wrong = [one for one in told.put_back if one.problem]
    count = len(told.put_back) - len(wrong)
    return _message(
        f"{_files(count)} back in input/ and tried from the start.",
        "Nothing could be put back.",
        count,
        [(one.file or one.named, f"{one.problem}.") for one in wrong],
    )


def _aside(told: models.SetAsides) -> Message:
    wrong = [one for one in told.set_aside if one.problem]
    count = len(told.set_aside) - len(wrong)
    return _message(
        f"{_files(count)} set aside in state/set-aside/; nothing was deleted.",
        "Nothing was set aside.",
        count,
        [(one.file or one.job, one.problem) for one in wrong],
    )


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count:,} files are"


def _message(
    well: str, ill: str, count: int, wrong: Sequence[tuple[str, str]]
) -> Message:
    if not count and not wrong:
        return Message("warn", "There was nothing left to do.")
    lines = tuple(wrong[:_MOST_LINES])
    hint = ""
    if wrong:
        hint = f"{len(wrong):,} could not:" if count else ""
        more = len(wrong) - len(lines)
        lines += ((f"{more:,} more", "see the list below."),) if more else ()
    kind = "good" if not wrong else "warn" if count else "bad"
    return Message(kind, well if count else ill, hint, lines=lines)


FORMS = (
    Form("retry", _chosen, _put_back),
    Form("retry_all", _alike, _put_back),
    Form("set_aside_some", _chosen, _aside),
)
