"""Which files may have killed the daemon, and which one is blamed for it.

A file that was in a parser when the daemon died is suspect and goes in alone the next
time. Only one that was alone pays with an attempt: the others may be innocent, and a
daemon that somebody kills at random rarely dies three times over the same file.
"""

from dropzone import log
from dropzone.errors import ParserDied
from dropzone.executor.requests import Note
from dropzone.journal import Journal, move
from dropzone.models import Job, Status
from dropzone.rescuer import Rescued
from dropzone.text import display
from dropzone.verdict import Fail, Limits, judge, noted, tried

#: The journal's mark that holds the note.
MARK = "parsing"


def examine(journal: Journal, rescued: Rescued, limits: Limits) -> dict[str, int]:
    """Blame the file that was alone, and return all suspects with their attempts.

    Raises:
        ServiceUnavailable: the disk does not take it (``disk``).

    """
    note = Note.load(journal.marks().get(MARK))
    noted = {note.alone, *note.together}
    jobs = {
        job.id: job
        for job in rescued.resume
        # Any other state says that it came out of the parser, or changed since.
        if job.id in noted and job.status is Status.STORED
    }
    suspects = {job.id: job.attempts for job in jobs.values()}
    # First, so that no death is counted twice.
    journal.mark(MARK, Note(together=tuple(suspects)).dump())
    if note.alone in jobs:
        blamed = _blame(journal, jobs[note.alone], rescued, limits)
        suspects[blamed.id] = blamed.attempts
    if suspects:
        log.get("rescuer").warning(
            "reading alone what may have killed the daemon", files=len(suspects)
        )
    return suspects


def _blame(journal: Journal, job: Job, rescued: Rescued, limits: Limits) -> Job:
    error = ParserDied(
        "The daemon was killed while it read this file and no other.",
        hint="If something else killed it, such as a power cut: dropzone retry JOB.",
    )
    rescued.resume.remove(job)
    job = tried(job, "index", error)
    log.get("rescuer").warning(
        "the daemon died over one file",
        job=job.id,
        path=display(job.path),
        attempt=job.attempts,
    )
    verdict = judge(job, error, limits)
    job, retry_at = noted(job, "index", error, verdict)
    if isinstance(verdict, Fail):
        rescued.doomed.append((job, verdict))
    else:
        changes = {"resume_status": verdict.resume, "retry_at": retry_at}
        journal.save([move(job, Status.WAITING, **changes)])
    return job
