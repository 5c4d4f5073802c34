"""Log events on their way to the journal, received by a socket as its own."""

import io
import json
import os
import socket
import struct
import subprocess
import sys

import pytest
import structlog

from dropzone import journald


class Journal:
    """The socket of systemd-journald, which reads datagrams and sealed files."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(5)

    def entry(self):
        data, descriptors, _, _ = socket.recv_fds(self.socket, 1 << 22, 1)
        if descriptors:
            with open(descriptors[0], "rb") as file:
                file.seek(0)
                data = file.read()
        return unpacked(data)


def unpacked(data):
    """Read the journal's protocol as its documentation has it."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            fields[name.decode()] = value.decode()
            data = rest
        else:
            (size,) = struct.unpack("<Q", rest[:8])
            fields[name.decode()] = rest[8 : 8 + size].decode()
            assert rest[8 + size : 9 + size] == b"\n"
            data = rest[9 + size :]
    return fields


@pytest.fixture
def journal(tmp_path):
    made = Journal(str(tmp_path / "journal"))
    yield made
    made.socket.close()


@pytest.fixture
def send(journal):
    sender = journald.Sender(journal.path)

    def send(**event):
        with pytest.raises(structlog.DropEvent):
            sender(None, "info", {"level": "info", **event})

    yield send
    sender.close()


def test_keys_become_fields_and_a_line_for_people(journal, send):
    send(
        event="failed",
        level="error",
        timestamp="2026-01-01T00:00:00Z",
        job="01a1",
        zone="papers",
        path="a b.pdf",
        reason='It says "no".',
        nothing=None,
        where=["a:1", "b:2"],
        pathname="/x/release.py",
        lineno=7,
        func_name="_tell",
    )
    assert journal.entry() == {
        "MESSAGE": 'failed job=01a1 zone=papers path="a b.pdf" '
        'reason="It says \\"no\\"." where="a:1, b:2"',
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "dropzone",
        "DROPZONE_EVENT": "failed",
        "DROPZONE_JOB": "01a1",
        "DROPZONE_ZONE": "papers",
        "DROPZONE_PATH": "a b.pdf",
        "DROPZONE_REASON": 'It says "no".',
        "DROPZONE_WHERE": "a:1, b:2",
        "CODE_FILE": "/x/release.py",
        "CODE_LINE": "7",
        "CODE_FUNC": "_tell",
    }


def test_a_value_with_line_breaks_stays_one_field(journal, send):
    send(event="x", reason="one\nPRIORITY=0\n", exception="Traceback\n  y")
    entry = journal.entry()
    assert entry["DROPZONE_REASON"] == "one\nPRIORITY=0\n"
    assert entry["PRIORITY"] == "6"
    assert entry["DROPZONE_EXCEPTION"] == "Traceback\n  y"
    assert entry["MESSAGE"].endswith("\nTraceback\n  y")


def test_what_is_too_big_for_a_datagram_goes_as_a_file(journal, send):
    send(event="x", reason="y" * 20_000_000)
    assert len(journal.entry()["DROPZONE_REASON"]) == 20_000_000


def test_names_are_such_as_the_journal_takes(journal, send):
    send(event="x", **{"tries-again.in": 1, "k" * 100: 2})
    entry = journal.entry()
    assert entry["DROPZONE_TRIES_AGAIN_IN"] == "1"
    assert max(map(len, entry)) == 64


def test_a_name_that_is_no_text_is_shown_escaped(journal, send):
    send(event="x", path="caf\udce9")
    assert journal.entry()["DROPZONE_PATH"] == "caf\\udce9"


def test_without_a_journal_nothing_is_lost(tmp_path):
    sender = journald.Sender(str(tmp_path / "nobody"))
    event = {"event": "failed", "level": "error", "reason": "a\nb"}
    assert sender(None, "error", event) == '<3>failed reason="a\\nb"'
    sender.close()


def test_the_journal_is_known_by_its_stream(tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        state = os.fstat(stream.fileno())
        own = {"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"}
        assert journald.is_journal(stream, own)
        assert not journald.is_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not journald.is_journal(stream, {})
    assert not journald.is_journal(io.StringIO(), own)


def test_the_journal_is_chosen_unless_another_form_is_asked_for(tmp_path):
    # In a process of its own: the log is set up once for all of it.
    journal = Journal(str(tmp_path / "journal"))
    script = (
        "import os, sys; from dropzone import journald, log\n"
        "state = os.fstat(2); journald.SOCKET = sys.argv[1]\n"
        "os.environ['JOURNAL_STREAM'] = f'{state.st_dev}:{state.st_ino}'\n"
        "log.configure(); held = log.get('x'); held.info('hello', job='01a1')\n"
        "log.configure('info', 'json'); held.info('as json')\n"
        "log.configure('warning'); held.info('too low'); held.warning('again')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, journal.path],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    entry = journal.entry()
    assert entry["DROPZONE_EVENT"] == "hello"
    assert entry["CODE_FUNC"] == "<module>"
    assert entry["CODE_FILE"] == "<string>"
    assert journal.entry()["MESSAGE"] == "again component=x"
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == "as json"
    journal.socket.close()
