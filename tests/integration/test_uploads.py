"""Uploads to a real daemon, by tuspy, which knows nothing of us, and by hand."""

import base64
import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tusclient.exceptions import TusUploadFailed

from daemons import PROMPT, ZoneOfTest, free_port, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from uploading import Sender, content, sha256
from webclient import get, submit

DORA = "dora-drops-4f1c01b3a08f2dd9a7ce"
OTTO = "otto-drops-4f1c01b3a08f2dd9a7ce"
RITA = "rita-reads-4f1c01b3a08f2dd9a7ce"
MEGABYTE = 1 << 20


class Served:
    """A daemon, and who uploads to it."""

    def __init__(self, zone: ZoneOfTest) -> None:
        self.zone = zone
        self.start()

    def start(self) -> None:
        self.process = self.zone.start()
        pid = self.process.pid
        wait_for(lambda: self.zone.report().get("pid") == pid, "the daemon reports")
        self.url = self.zone.url()
        self.dora = Sender(self.url, DORA)
        self.otto = Sender(self.url, OTTO)

    def set(self, **settings: dict[str, float]) -> None:
        """Put other settings in force."""
        reloads = self.zone.log().count('"reloaded"')
        aside = self.zone.base / "config.new"
        aside.write_text(json.dumps(settings))
        aside.rename(self.zone.base / "config.yaml")
        wait_for(
            lambda: self.zone.log().count('"reloaded"') > reloads, "it is reloaded"
        )

    def job(self, url: str) -> Any:
        """Return the job that an upload became."""
        told = wait_for(lambda: self.told_with_job(url), "the file is taken")
        return get(
            f"{self.url}/api/v1/jobs/{told['job']}", authorization=f"Bearer {DORA}"
        ).json["job"]

    def told_with_job(self, url: str) -> Any:
        told = self.dora.told(url)
        return told if told["job"] else None

    def ended(self, url: str) -> Any:
        return wait_for(
            lambda: job if (job := self.job(url))["ended_at"] else None, "it ends"
        )


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[Served]:
    zone = zone_on(tmp_path_factory.mktemp("uploads"), services)
    zone.environment["DROPZONE_WEB_TOKENS"] = (
        f"dora drop {DORA}\notto drop {OTTO}\nrita read {RITA}"
    )
    zone.environment["DROPZONE__RETENTION__EVERY_SECONDS"] = "0.3"
    (zone.base / "config.yaml").write_text("{}")
    # A fixed port lets clients go on after a restart, as in life.
    zone.environment["DROPZONE__WEB__PORT"] = str(free_port())
    served = Served(zone)
    yield served
    zone.stop(served.process)
    zone.close()


def test_a_client_that_knows_nothing_of_us_drops_a_file(served):
    data = b"Whales swim in the deep sea.\n" * 50_000
    told = {
        "filename": "whale.txt",
        "relativePath": "sea/deep/whale.txt",
        "collection": "animals",
        "mtime": "1700000000.25",
        "author": "Ada Löwe",
    }
    sender = served.dora.client(data, metadata=told, chunk_size=400_000)
    sender.upload()
    assert sender.offset == len(data)
    job = served.ended(sender.url)
    assert (job["outcome"], job["collection"]) == ("indexed", "animals")
    assert (job["path"], job["sha256"]) == ("animals/sea/deep/whale.txt", sha256(data))
    upload = served.dora.told(sender.url)
    assert upload["state"] == "landed"
    assert upload["metadata"] == {"author": "Ada Löwe"}
    whole = get(
        f"{served.url}/api/v1/jobs/{job['id']}", authorization=f"Bearer {DORA}"
    ).json
    assert whole["mtime"] == pytest.approx(1700000000.25, abs=1e-5)
    assert whole["given"] == {"author": "Ada Löwe"}
    # It knows that nothing is left to send.
    assert served.dora.client(data, url=sender.url).offset == len(data)
    assert served.dora.add(sender.url, len(data), b"").status == 204
    assert served.dora.add(sender.url, 0, b"again").status == 409
    assert served.dora.ask("DELETE", sender.url).status == 409


def test_one_request_is_enough_and_a_taken_name_gets_a_number(served):
    first = served.dora.begin(5, b"hello", filename="hi.txt", collection="one")
    assert (first.status, first.json["state"]) == (201, "landed")
    assert first.headers["upload-offset"] == "5"
    empty = served.dora.begin(0, filename="empty.txt")
    assert (empty.status, empty.json["state"]) == (201, "landed")
    assert served.ended(served.dora.at(first))["outcome"] == "indexed"
    assert served.ended(served.dora.at(empty))["outcome"] == "empty"


def test_sums_are_compared_and_wrong_bytes_count_for_nothing(served):
    data = content(3 * MEGABYTE)
    sender = served.dora.client(
        data,
        metadata={"filename": "sum.bin"},
        upload_checksum=True,
        chunk_size=MEGABYTE,
    )
    sender.upload_chunk()
    wrong = base64.b64encode(bytes(20)).decode()
    sent = {"upload_checksum": f"sha1 {wrong}"}
    refused = served.dora.add(sender.url, MEGABYTE, data[MEGABYTE:], **sent)
    assert refused.status == 460
    assert served.dora.offset(sender.url) == MEGABYTE
    assert (
        served.dora.add(sender.url, MEGABYTE, b"", upload_checksum="md5 x").status
        == 400
    )
    # Without a whole body there is no sum to compare.
    with served.dora.sending(sender.url, MEGABYTE, 2 * MEGABYTE, data[:1000], **sent):
        pass
    wait_for(lambda: served.dora.add(sender.url, 0, b"").status == 409, "it is over")
    assert served.dora.offset(sender.url) == MEGABYTE
    sender.upload()
    assert served.ended(sender.url)["sha256"] == sha256(data)


def test_what_a_lost_connection_brought_is_kept_and_the_rest_follows(served):
    data = content(20 * MEGABYTE)
    url = served.dora.begun(len(data), filename="cut.bin")
    with served.dora.sending(url, 0, len(data), data[: 8 * MEGABYTE]) as connection:
        wait_for(lambda: served.dora.offset(url) > 7 * MEGABYTE, "bytes are written")
        known = served.dora.offset(url)
        # Who is silent for a while gives way.
        connection.send(data[8 * MEGABYTE : 9 * MEGABYTE])
        busy = served.dora.add(url, known, b"x")
        assert (busy.status, busy.headers["retry-after"]) == (423, "1")
    wait_for(
        lambda: served.dora.add(url, 0, b"").status == 409, "the connection is given up"
    )
    kept = served.dora.offset(url)
    assert 8 * MEGABYTE < kept <= 9 * MEGABYTE
    mine = {one["path"]: one for one in served.dora.ask("GET").json["uploads"]}
    assert mine["cut.bin"]["offset"] == kept
    assert served.otto.ask("GET").json["uploads"] == []
    served.dora.client(data, url=url, chunk_size=5 * MEGABYTE).upload()
    assert served.ended(url)["sha256"] == sha256(data)


def test_a_silent_connection_gives_way_to_a_new_one(served):
    url = served.dora.begun(2000, filename="silent.txt")
    with served.dora.sending(url, 0, 2000, b"a" * 1000):
        wait_for(lambda: served.dora.offset(url) == 1000, "bytes are written")
        wait_for(
            lambda: served.dora.add(url, 1000, b"b" * 500).status == 204, "it gives way"
        )
        assert served.dora.offset(url) == 1500
    assert served.dora.ask("DELETE", url).status == 204
    assert served.dora.ask("HEAD", url).status == 404


def test_after_a_kill_it_goes_on_where_it_was(served):
    data = content(64 * MEGABYTE)
    told = {"filename": "killed.bin", "project": "Ärger"}
    sender = served.dora.client(data, metadata=told, chunk_size=MEGABYTE)
    sender.upload(stop_at=3 * MEGABYTE)
    url = sender.url
    rest = data[3 * MEGABYTE :]
    with served.dora.sending(url, 3 * MEGABYTE, len(rest), rest[: 40 * MEGABYTE]):
        wait_for(lambda: served.dora.offset(url) > 40 * MEGABYTE, "bytes are written")
        known = served.dora.offset(url)
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
    with pytest.raises(TusUploadFailed):
        sender.upload_chunk()
    served.start()
    assert served.dora.offset(url) >= known
    again = served.dora.client(data, url=url, chunk_size=16 * MEGABYTE)
    assert again.offset >= known
    again.upload()
    job = served.ended(url)
    assert (job["sha256"], job["path"]) == (sha256(data), "killed.bin")
    assert served.dora.told(url)["metadata"] == {"project": "Ärger"}


def test_nobody_else_sees_adds_or_ends_an_upload(served):
    url = served.dora.begun(10, filename="mine.txt")
    for method in ("HEAD", "GET", "DELETE"):
        assert served.otto.ask(method, url).status == 404
    assert served.otto.add(url, 0, b"x").status == 404
    reader = Sender(served.url, RITA)
    assert reader.begin(10, filename="no.txt").status == 403
    assert reader.ask("HEAD", url).status == 403
    assert served.dora.ask("DELETE", url).status == 204
    assert "tus-version" in served.dora.ask("OPTIONS").headers


@pytest.mark.parametrize(
    ("told", "status", "words"),
    [
        ({}, 422, "has no name"),
        ({"filename": "../x"}, 422, "slash"),
        ({"relativePath": "a/../../x"}, 422, "part '..'"),
        ({"relativePath": "/etc/x"}, 422, "part ''"),
        ({"filename": "x", "collection": ".."}, 422, "part '..'"),
        ({"filename": "x", "collection": "a/b"}, 422, "collection"),
        ({"filename": "a\x00b"}, 422, "control character"),
        ({"filename": "a\nb"}, 422, "control character"),
        ({"filename": "ä" * 128}, 422, "256 bytes"),
        ({"filename": ".hidden"}, 422, "left alone"),
        ({"relativePath": "__MACOSX/x"}, 422, "left alone"),
        ({"relativePath": "d/" * 101 + "x"}, 422, "too long"),
        ({"relativePath": "d/x", "filename": "y"}, 422, "does not end with"),
        ({"filename": "x", "zone": "other"}, 422, "no such zone"),
        ({"filename": "x", "mtime": "soon"}, 422, "mtime"),
        ({"filename": "x", "note": "two\nlines"}, 422, "single line"),
        ({"filename": "x", "note": "n" * 2000}, 422, "2000 bytes"),
    ],
)
def test_names_that_cannot_be_dropped_are_refused_in_a_sentence(
    served, told, status, words
):
    refused = served.dora.begin(1, **told)
    assert (refused.status, words in refused.json["detail"]) == (status, True), (
        refused.text
    )
    assert refused.json["what_to_do"]
    assert refused.headers["tus-resumable"] == "1.0.0"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"tus_resumable": "0.2.2", "upload_length": "1"}, 412),
        ({"upload_length": "-1"}, 400),
        ({}, 400),
        ({"upload_defer_length": "1"}, 400),
        ({"upload_length": str(6 << 40)}, 413),
        ({"upload_length": str(1 << 40)}, 507),
        ({"upload_length": "1", "upload_metadata": "filename ?"}, 400),
        ({"upload_length": "1", "upload_metadata": "a eA==,a eA=="}, 400),
        # "x" and "[]" instead of a JSON object.
        ({"upload_length": "1", "upload_metadata": "filename eA==,metadata eA=="}, 422),
        ({"upload_length": "1", "upload_metadata": "filename eA==,metadata W10="}, 422),
    ],
)
def test_what_cannot_be_begun_is_refused(served, headers, status):
    headers = {"upload_metadata": "filename eA==", **headers}
    refused = served.dora.ask("POST", **headers)
    assert refused.status == status, refused.text
    assert refused.headers["content-type"] == "application/problem+json"


def test_what_does_not_fit_an_upload_is_refused_and_harms_nothing(served):
    url = served.dora.begun(10, filename="ten.txt")
    assert served.dora.add(url, 1, b"x").status == 409
    assert served.dora.add(url, 0, b"x" * 11).status == 413
    assert served.dora.ask("PATCH", url, b"x", upload_offset="0").status == 415
    assert served.dora.add(url, 0, b"x", tus_resumable="2").status == 412
    # How much comes in chunks is known at their end only.
    chunked = {"transfer_encoding": "chunked"}
    over = b"b\r\n01234567890\r\n0\r\n\r\n"
    assert served.dora.add(url, 0, over, **chunked).status == 413
    assert served.dora.offset(url) == 0
    assert served.dora.ask("POST", url).status == 405
    over = {"x_http_method_override": "PATCH"}
    sent = {"content_type": "application/offset+octet-stream", "upload_offset": "0"}
    assert served.dora.ask("POST", url, b"01234", **over, **sent).status == 204
    assert served.dora.add(url, 5, b"56789").status == 204
    assert served.ended(url)["sha256"] == sha256(b"0123456789")


def test_a_full_disk_refuses_and_keeps_and_goes_on_when_there_is_room(served):
    data = content(4 * MEGABYTE)
    url = served.dora.begun(len(data), filename="full.bin")
    assert served.dora.add(url, 0, data[:MEGABYTE]).status == 204
    served.set(limits={"free_megabytes": 1e9})
    for refused in (
        served.dora.add(url, MEGABYTE, data[MEGABYTE:]),
        served.dora.begin(1, filename="another.txt"),
    ):
        assert refused.status == 507, refused.text
        assert "disk" in refused.json["detail"]
    assert served.dora.offset(url) == MEGABYTE
    served.set()
    assert served.dora.add(url, MEGABYTE, data[MEGABYTE:]).status == 204
    assert served.ended(url)["sha256"] == sha256(data)


def test_what_nobody_goes_on_with_is_removed(served):
    url = served.dora.begun(2, filename="old.txt")
    empty = served.dora.told(url)
    assert (empty["last_byte_at"], empty["receiving"]) == (None, False)
    assert 0 < empty["expires_at"] - empty["created_at"] < 3600
    served.dora.add(url, 0, b"x")
    begun = served.dora.told(url)
    assert begun["last_byte_at"] >= begun["created_at"]
    assert begun["expires_at"] - begun["last_byte_at"] > 23 * 3600
    expires = served.dora.ask("HEAD", url).headers["upload-expires"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", expires)
    folder = served.zone.root / "state/uploads/open" / url.rpartition("/")[2]
    known = json.loads((folder / "record.json").read_bytes())

    def make_older(seconds: float) -> float:
        known["created_at"] -= seconds
        # The daemon looks all the time: it must not see half of it.
        aside = served.zone.base / "record.json"
        aside.write_text(json.dumps(known))
        aside.rename(folder / "record.json")
        os.utime(folder / "data", (1, known["created_at"]))
        return float(known["created_at"])

    made = make_older(60)
    stopped = served.dora.told(url)
    assert (begun["receiving"], stopped["receiving"]) == (True, False)
    assert stopped["last_byte_at"] == pytest.approx(made, abs=0.01)
    make_older(25 * 3600)
    wait_for(lambda: served.dora.ask("HEAD", url).status == 404, "it expires")
    wait_for(lambda: '"upload expired"' in served.zone.log(), "that is told")


def test_a_browser_uploads_with_the_mark_of_its_session_until_it_logs_out(served):
    form = get(f"{served.url}/login")
    (mark,) = re.findall(r'name="csrf" value="(\w+)"', form.text)
    kept = form.cookies[0].partition(";")[0]
    answer = submit(f"{served.url}/login", {"csrf": mark, "token": DORA}, cookie=kept)
    cookie = next(c for c in answer.cookies if "_form=" not in c).partition(";")[0]
    csrf = get(f"{served.url}/api/v1/me", cookie=cookie).json["csrf"]
    browser = Sender(served.url)
    browser.headers["cookie"] = cookie
    assert browser.begin(2, filename="web.txt").status == 403
    browser.headers["x-csrf-token"] = csrf
    url = browser.begun(2000, filename="web.txt")
    del browser.headers["x-csrf-token"]
    assert browser.add(url, 0, b"x").status == 403
    browser.headers["x-csrf-token"] = csrf
    assert browser.add(url, 0, b"x" * 500).status == 204
    with browser.sending(url, 500, 1500, b"x" * 500) as connection:
        wait_for(lambda: browser.offset(url) == 1000, "bytes are written")
        out = {"csrf": csrf}
        assert submit(f"{served.url}/logout", out, cookie=cookie).status == 303
        assert connection.getresponse().status == 401
    # The same person, by another way.
    assert served.dora.offset(url) == 1000
    assert served.dora.ask("DELETE", url).status == 204


def test_the_log_tells_who_dropped_what(served):
    url = served.dora.begun(1, filename="logged.txt")
    served.dora.add(url, 0, b"x")
    assert served.ended(url)["outcome"] == "indexed"
    wait_for(lambda: '"event": "uploaded"' in served.zone.log(), "it is told")
    assert DORA not in served.zone.log()


def test_a_daemon_that_stops_waits_for_no_upload(served):
    url = served.dora.begun(2000, filename="stop.txt")
    with served.dora.sending(url, 0, 2000, b"x" * 500) as connection:
        wait_for(lambda: served.dora.offset(url) == 500, "bytes are written")
        assert served.zone.stop(served.process) < PROMPT
        with contextlib.suppress(OSError):
            assert connection.getresponse().status == 503
    served.start()
    assert served.dora.offset(url) == 500
    assert served.dora.ask("DELETE", url).status == 204
