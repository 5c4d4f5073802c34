"""The API of a running daemon: what it tells and does, held against the commands."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from openapi_spec_validator import validate

import samples
from daemons import DEADLINE, ZoneOfTest, wait_for, zone_on
from dropzone import given
from dropzone.embedded import ServiceAddresses
from webclient import Answer, ask, connect, get, post, submit

OPERATOR = "an-operator-4f1c01b3a08f2dd9"
READER = "a-reader-4f1c01b3a08f2dd9a7ce"
BYTES = b'w\xffhale "1".txt'
GIVEN = {"author": "Herman", "year": "1851"}
# Bytes of a file are of a type of their own.
_HOOKS = """
import schemathesis
schemathesis.serializer.alias(
    "application/offset+octet-stream", "application/octet-stream"
)
"""
# Uploads say 412 to who speaks another version, 413 to what is too large, 460 to a
# wrong sum, and 507 when the disk is too small. No pattern tells which names files may
# have, and which sum a body has.
_RULES = """
hooks = "hooks.py"
[[operations]]
include-path-regex = "^/api/v1/uploads"
[operations.checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "507"]
negative_data_rejection.expected-statuses = ["4xx", "507"]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "4xx", "507"]
"""
BAD = b"\x00\x01 is no document"
ASIDE = b"\x00\x02 is none either"


class Served:
    """A daemon with a few ended files, and who asks it."""

    def __init__(self, zone: ZoneOfTest) -> None:
        self.zone = zone
        self.url = zone.url()
        self.before_all: list[dict[str, Any]] = []

    def get(self, path: str, token: str = OPERATOR, **headers: str) -> Answer:
        url = f"{self.url}/api/v1{path}"
        return get(url, authorization=f"Bearer {token}", **headers)

    def post(self, path: str, given: Any = None, token: str = OPERATOR) -> Answer:
        url = f"{self.url}/api/v1{path}"
        return post(url, given, authorization=f"Bearer {token}")

    def job(self, text: str) -> dict[str, Any]:
        jobs: list[dict[str, Any]] = self.get(f"/jobs?text={quote(text)}").json["jobs"]
        return jobs[0]


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[Served]:
    zone = zone_on(tmp_path_factory.mktemp("api"), services)
    zone.environment["DROPZONE_WEB_TOKENS"] = (
        f"anna operate {OPERATOR}\nrita read {READER}"
    )
    zone.environment["DROPZONE__WEB__TRUSTED_PROXIES"] = "127.0.0.1"
    process = zone.start()
    served = Served(zone)
    served.before_all = [
        wait_for(lambda where=where: nothing_amiss(served, where), where)
        for where in ("/collections", "/search?q=whales")
    ]
    described(zone, json.dumps(GIVEN).encode())
    zone.drop(b"sea/" + BYTES, b"whales swim in the deep sea")
    described(zone, b"[1, 2]")
    for number in range(4):
        zone.drop(f"notes/note-{number}.txt", f"note {number} on trains".encode())
    zone.drop("bad.docx", BAD)
    zone.drop("old.docx", ASIDE)
    zone.wait_for_ends(7)
    yield served
    zone.stop(process)
    zone.close()


@pytest.fixture
def served(serving: Served) -> Served:
    """Return the daemon when everything that other tests dropped has ended and is told.

    What it tells of its steps and of ``input/`` is up to a second old, so these are
    looked at themselves, in the order in which files go on.
    """

    def at_rest() -> bool:
        if serving.zone.files("input"):
            return False
        with serving.zone.journal() as journal:
            if list(journal.unfinished()):
                return False
        zone = serving.get("/zones/default").json
        under_way = [s["queued"] + s["working"] for s in zone["steps"]]
        told = {
            zone["steps"][0]["done"],
            zone["steps"][1]["done"],
            sum(zone["outcomes"].values()),
            sum(zone["throughput"]["files"]),
        }
        return not any(under_way) and told == {len(serving.zone.receipts())}

    wait_for(at_rest, "all files have ended")
    return serving


def nothing_amiss(served: Served, where: str) -> dict[str, Any] | None:
    """Return an answer once Postgres had its say; at first it is only connected to."""
    answer = served.get(where)
    told: dict[str, Any] = answer.json
    return told if answer.status == 200 and not told.get("documents_unknown") else None


def described(zone: ZoneOfTest, value: bytes) -> None:
    """Let the file that is dropped next come with this said of it."""
    zone.aside.touch()
    os.setxattr(zone.aside, given.ATTRIBUTE, value)


def failed(served: Served) -> int:
    """Return how many jobs failed so far."""
    return [one["outcome"] for one in served.zone.receipts()].count("failed")


def history(served: Served) -> dict[str, Any]:
    """Return what `status` tells of the past."""
    told = json.loads(served.zone.command("status", "--json").stdout)
    found: dict[str, Any] = told["zones"][0]["history"]
    return found


@pytest.fixture
def followers() -> Iterator[Callable[..., Iterator[tuple[str, str, Any]]]]:
    """Return what follows the events; every connection is closed at the end."""
    with contextlib.ExitStack() as stack:

        def follow(*wanted: Any) -> Iterator[tuple[str, str, Any]]:
            return stack.enter_context(contextlib.closing(_events(*wanted)))

        yield follow


def test_every_operation_takes_a_token_and_changes_take_the_role_for_it(served):
    described = served.get("/openapi.json").json
    validate(described)
    for path, methods in described["paths"].items():
        for method, told in methods.items():
            where = re.sub(r"{\w+}", "01a1fd26-7c92-7000-9842-0c19c1250c8e", path)
            url = served.url + where
            assert ask(method.upper(), url).status == 401, (method, path)
            if method == "post":
                refused = post(url, authorization=f"Bearer {READER}")
                expected = 404 if path.endswith("/link") else 403
                assert refused.status == expected, (method, path)
            assert told["operationId"]


def test_before_the_first_file_nothing_is_found_and_nothing_is_wrong(serving):
    """The tables in Postgres are made when the first text is indexed."""
    collections, found = serving.before_all
    assert collections == {"collections": [], "documents_unknown": ""}
    assert found["hits"] == []


def test_commands_and_api_have_the_same_names_for_the_same_things(served):
    def command(*words: str) -> Any:
        return json.loads(served.zone.command(*words, "--json").stdout)

    (failed,) = served.get("/jobs?text=bad.docx&state=failed").json["jobs"][-1:]
    jobs = command("jobs", "--state", "failed", "-n", "500")["jobs"]
    (listed,) = (job for job in jobs if job["id"] == failed["id"])
    journey = served.get(f"/jobs/{failed['id']}").json
    (shown,) = command("show", failed["id"])["jobs"]
    assert failed["what_to_do"]
    for told in (listed, shown["job"]):
        assert {name: told[name] for name in failed} == failed
    for name in ("lies_in", "lies_in_quoted", "receipt"):
        # Of what is nowhere any more, commands leave out the bytes.
        assert shown.get(name) == journey[name]
    assert command("search", "whales") == served.get("/search?q=whales").json


def test_the_overview_says_that_all_is_well_and_counts_as_status_does(served):
    told = served.get("/overview").json
    status = json.loads(served.zone.command("status", "--json").stdout)["zones"][0]
    (zone,) = told["zones"]
    assert told["well"]
    assert "All is well" in told["sentence"]
    assert [one["service"] for one in told["services"]] == ["s3", "postgres", "mlflow"]
    assert zone["outcomes"] == status["history"]["outcomes"]
    # Other tests may have dropped and tried again some more before.
    assert sum(zone["throughput"]["files"]) == len(served.zone.receipts())
    assert sum(zone["throughput"]["failed"]) == failed(served)
    # Rates change by the second.
    wait_for(
        lambda: (
            served.get("/overview").json["zones"][0]
            == served.get("/zones/default").json
        ),
        "both tell the same",
    )


def test_each_step_tells_what_it_does_and_did(served):
    zone = served.get("/zones/default").json
    assert zone["in_input"]["files"] == 0
    assert zone["oldest_waiting_at"] is None
    steps = {step["step"]: step for step in zone["steps"]}
    assert list(steps) == ["claim", "store", "index", "release", "track"]
    assert steps["claim"]["done"] == steps["store"]["done"]
    assert steps["claim"]["done"] == len(served.zone.receipts())
    assert not any(step["paused"] for step in steps.values())
    assert steps["index"]["median_seconds"] > 0


def test_throughput_goes_back_an_hour_a_day_and_a_week(served):
    ended = len(served.zone.receipts())
    for name, step, parts in (("hour", 60, 60), ("day", 900, 96), ("week", 7200, 84)):
        told = served.get(f"/throughput?range={name}&zone=default").json
        assert told["step_seconds"] == step
        assert told["until"] % step == 0
        for key in ("files", "failed", "bytes"):
            assert len(told[key]) == parts
        assert (sum(told["files"]), sum(told["failed"])) == (ended, failed(served))
    assert served.get("/throughput?zone=other").status == 404
    assert served.get("/throughput?range=year").status == 422
    assert served.get("/zones/other").status == 404


def test_names_are_shown_and_can_be_made_again_exactly(served):
    job = served.job("hale")
    assert job["path"] == 'sea/w\\xffhale "1".txt'
    assert unquote_to_bytes(job["path_quoted"]) == b"sea/" + BYTES
    saved = served.get(f"/jobs/{job['id']}/file")
    assert saved.body == b"whales swim in the deep sea"
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in saved.headers["content-security-policy"]
    disposition = saved.headers["content-disposition"]
    assert disposition.startswith("attachment;")
    # A quote or a backslash in the name cannot end what stands in quotes.
    assert disposition.count('"') == 2


def test_a_job_tells_its_whole_journey(served):
    job = served.job("hale")
    told = served.get(f"/jobs/{job['id']}").json
    assert set(told["seconds"]) == {"store", "index"}
    assert [s["step"] for s in told["steps"]] == ["claim", "store", "index", "release"]
    moments = [at for s in told["steps"] for at in (s["began_at"], s["ended_at"])]
    assert moments == sorted(moments)
    assert moments[0] == pytest.approx(told["job"]["created_at"])
    assert moments[-1] == pytest.approx(told["job"]["ended_at"], abs=0.01)
    assert told["given"] == told["receipt"]["given"] == GIVEN
    assert told["document"]["metadata"]["given"] == GIVEN
    assert told["tries"] == []
    assert "tries" not in told["receipt"]
    assert told["receipt"]["job"] == job["id"]
    assert told["document"]["chunk_count"] == 1
    (chunk,) = served.get(f"/jobs/{job['id']}/chunks").json["chunks"]
    assert chunk["text"] == "whales swim in the deep sea"
    link = served.post(f"/jobs/{job['id']}/link", {"expires_seconds": 60}).json
    assert get(link["url"]).body == b"whales swim in the deep sea"
    assert "own machine" not in link["problem"]
    asking = {"authorization": f"Bearer {OPERATOR}", "x_forwarded_for": "192.0.2.1"}
    far = post(f"{served.url}/api/v1/jobs/{job['id']}/link", **asking).json
    assert "own machine only" in far["problem"]
    shown = json.loads(served.zone.command("show", job["id"], "--json").stdout)
    assert shown["jobs"][0]["receipt"] == told["receipt"]
    assert served.get("/jobs/01a1fd26-7c92-7000-9842-0c19c1250c8e").status == 404


def test_metadata_that_cannot_be_read_is_a_note_and_fails_no_file(served):
    job = served.job("note-0")
    told = served.get(f"/jobs/{job['id']}").json
    assert (job["outcome"], told["given"]) == ("indexed", {})
    assert told["receipt"]["notes"] == ["metadata_unreadable"]
    assert "holds no JSON object" in told["given_problem"]


@pytest.mark.parametrize("by", ["id", "sha256", "path"])
def test_a_file_is_found_by_its_id_hash_and_name(served, by):
    job = served.job("note-2")
    (found,) = served.get(f"/lookup?q={quote(job[by])}").json["jobs"]
    assert found == job
    for words in ("nothing-of-that-name", "/etc/passwd", "../" * 20 + "etc/passwd"):
        nothing = {"jobs": [], "in_input": []}
        assert served.get(f"/lookup?q={words}").json == nothing


def test_jobs_are_filtered_and_paged_while_others_are_dropped(served):
    seen, cursor = [], ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = served.get(f"/jobs?collection=notes&limit=2{more}").json
        seen += [job["path"] for job in page["jobs"]]
        cursor = page["next"]
    assert sorted(seen) == [f"notes/note-{n}.txt" for n in range(4)]
    failed = served.get("/jobs?state=failed").json["jobs"]
    assert {job["path"] for job in failed} >= {"bad.docx"}
    since = served.job("note-0")["created_at"] + 3600
    assert served.get(f"/jobs?since={since}").json["jobs"] == []


@pytest.mark.parametrize(
    "wrong",
    ["limit=0", "limit=x", "state=lost", "cursor=1", "what=1", "limit=1&limit=2"],
)
def test_wrong_parameters_are_named_in_a_sentence(served, wrong):
    refused = served.get(f"/jobs?{wrong}")
    assert refused.status == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json["errors"]
    assert wrong.partition("=")[0] in str(refused.json["errors"])


def test_what_did_not_change_is_not_sent_again(served):
    first = served.get("/jobs")
    again = served.get("/jobs", **{"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert served.get("/jobs", **{"if-none-match": '"other"'}).status == 200


def test_search_and_collections_agree_with_the_commands(served):
    hits = served.get("/search?q=whales").json["hits"]
    told = json.loads(served.zone.command("search", "whales", "--json").stdout)["hits"]
    assert hits == told
    assert hits[0]["given"] == GIVEN
    for wanted, count in (
        ("metadata=author%3DHerman&name=hale&doc_type=txt&collection=sea", 1),
        ("metadata=author%3DAda", 0),
        ("until=1000", 0),
    ):
        found = served.get(f"/search?q=whales&{wanted}").json["hits"]
        assert len(found) == count, wanted


def test_services_are_asked_now_and_told_with_where_they_are(served):
    def looked_at() -> dict[str, Any] | None:
        found = served.get("/services").json["services"]
        told = {one["service"]: one for one in found}
        return told if told["s3"]["healthy"] and told["postgres"]["healthy"] else None

    told = wait_for(looked_at, "both answer")
    assert set(told) == {"s3", "postgres", "mlflow"}
    assert all(bool(one["note"]) == (one["healthy"] is None) for one in told.values())
    for name in ("s3", "postgres"):
        assert told[name]["healthy"]
        assert 0 < told[name]["latency_seconds"] < 60
        assert told[name]["since"] <= told[name]["checked_at"]
        assert not told[name]["embedded"]
        assert told[name]["holds_up"] == []
    assert told["s3"]["address"].startswith("s3://")
    again = served.get("/services").json["services"][0]
    assert again["since"] == told[again["service"]]["since"]


def test_collections_tell_what_was_dropped_and_where_more_can_go(served):
    (served.zone.input / "empty").mkdir()
    (served.zone.input / ".hidden").mkdir()

    def collections() -> dict[str, Any]:
        told = served.get("/collections").json
        assert told["documents_unknown"] == ""
        return {one["collection"]: one for one in told["collections"]}

    wait_for(lambda: "empty" in collections(), "it is seen")
    told = collections()
    assert set(told) >= {"default", "empty", "notes", "sea"}
    assert ".hidden" not in told
    assert (told["empty"]["files"], told["empty"]["has_folder"]) == (0, True)
    assert told["empty"]["last_drop_at"] is None
    assert told["notes"]["documents"] == told["notes"]["files"] == 4
    assert told["notes"]["under_way"] == told["notes"]["failed"] == 0
    last = max(
        job["created_at"] for job in served.get("/jobs?collection=notes").json["jobs"]
    )
    assert told["notes"]["last_drop_at"] == pytest.approx(last)
    one = served.get("/collections/default/notes").json
    assert told["notes"].items() <= one.items()
    assert served.get("/collections/default/birds").status == 404
    assert served.get("/collections/other/notes").status == 404


def test_the_room_of_a_zone_is_told_with_what_it_leaves_alone(served):
    (zone,) = served.get("/room").json["zones"]
    assert zone["path"] == str(served.zone.root)
    assert 0 < zone["largest_bytes"] <= zone["usable_bytes"]
    assert {"Thumbs.db", "*.tmp"} <= set(zone["ignored"])


def test_a_failure_is_retried_and_another_is_set_aside_not_deleted(served):
    failures = served.get("/failures").json
    assert failures["count"] >= 1
    assert all(group["reason"] and group["what_to_do"] for group in failures["groups"])
    job, old = served.job("bad.docx"), served.job("old.docx")
    journey = served.get(f"/jobs/{old['id']}").json
    (vain,) = journey["tries"]
    assert (vain["step"], vain["next"], vain["until"]) == ("index", "fails", None)
    assert vain["reason"] == old["end_reason"]
    assert journey["receipt"]["tries"] == journey["tries"]
    shown = served.zone.command("show", old["id"]).stdout
    assert f"index: {vain['reason']} (gave up)" in shown
    before, ended = history(served), len(served.zone.receipts())
    put = served.post(f"/jobs/{job['id']}/retry").json
    assert put["path"] == "bad.docx"
    wait_for(lambda: len(served.zone.receipts()) > ended, "it is tried again")
    assert served.post(f"/jobs/{job['id']}/retry").status == 409
    answer = served.post(f"/jobs/{old['id']}/set-aside")
    assert answer.status == 200, answer.text
    aside = answer.json
    kept = served.zone.root / aside["place"]
    assert kept.read_bytes() == ASIDE
    assert (kept.parent / "old.docx.error.json").exists()
    assert served.post(f"/jobs/{old['id']}/set-aside").status == 409
    expected = {
        "put_back": before["put_back"] + 1,
        "gone": before["gone"] + 1,
        "failed": before["failed"] - 1,
    }
    # The journal is written after the receipt.
    wait_for(lambda: expected.items() <= history(served).items(), "each is counted")
    assert served.get(f"/jobs/{old['id']}").json["job"]["removed_by"] == (
        "anna, set aside"
    )
    open_ones = served.get("/failures").json["groups"]
    assert old["id"] not in json.dumps(open_ones)
    assert served.zone.command("verify").returncode == 0


def test_failures_alike_are_tried_again_and_some_set_aside_each_with_a_word(served):
    unknown = "01a1fd26-7c92-7000-9842-0c19c1250c8e"
    for number in range(2):
        content = samples.encrypted_pdf() + b"\n" * number
        served.zone.drop(f"alike/{number}.pdf", content)
    there = "alike&open=true"

    def waiting() -> set[str]:
        found = served.get(f"/jobs?collection={there}").json["jobs"]
        return {one["id"] for one in found}

    wait_for(lambda: len(waiting()) == 2, "both fail")
    before = waiting()
    job = served.job("alike/0.pdf")
    group = {"reason": job["end_reason"], "step": "index"}
    listed = "&".join(f"{name}={quote(value)}" for name, value in group.items())
    found = served.get(f"/jobs?{listed}&type=pdf&collection={there}").json["jobs"]
    assert {one["path"] for one in found} == {"alike/1.pdf", "alike/0.pdf"}
    assert served.post("/failures/retry", {**group, "step": "store"}).json == {
        "put_back": []
    }
    put_back = served.post("/failures/retry", group).json["put_back"]
    assert {one["file"] for one in put_back} == {"alike/0.pdf", "alike/1.pdf"}
    assert not [one["problem"] for one in put_back if one["problem"]]
    wait_for(lambda: len(waiting() - before) == 2, "they fail again")
    again = served.job("alike/0")["id"]
    told = served.post("/set-aside", {"jobs": [again, job["id"], unknown]}).json
    first, second, third = told["set_aside"]
    assert first["place"].endswith(f"{again}/0.pdf")
    assert "waits in failed/" in second["problem"]
    assert third["problem"] == "There is no such job."
    assert "alike" in served.get("/filters").json["collections"]


def test_a_pause_is_told_by_name_and_ends_with_a_resume(served):
    served.post("/pause", {"steps": ["store"], "seconds": 3600, "reason": "tea"})

    def paused() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = served.get("/overview").json["zones"][0]["paused"]
        return told

    wait_for(paused, "the pause is told")
    (pause,) = paused()
    assert (pause["by"], pause["step"], pause["reason"]) == ("anna", "store", "tea")
    assert pause["next"].startswith("It goes on by itself at ")
    overview = served.get("/overview").json
    assert not overview["well"]
    steps = {step["step"]: step["paused"] for step in overview["zones"][0]["steps"]}
    assert steps.pop("store") == [pause]
    assert not any(steps.values())
    (changed,) = served.post("/resume", {}).json["changed"]
    assert changed["step"] == "store"
    wait_for(lambda: not paused(), "it goes on")


def test_settings_tell_their_origin_and_no_secret(served):
    answer = served.get("/settings")
    assert OPERATOR not in answer.text
    assert READER not in answer.text
    told = {one["key"]: one for one in answer.json["settings"]}
    assert told["web.tokens.0.name"]["value"] == "anna"
    assert set(told["web.tokens.0.token"]["value"]) == {"*"}
    assert "environment variable" in told["retry.first_pause_seconds"]["origin"]
    assert served.get("/settings", READER).status == 403
    assert served.post("/reload").json["ok"]


def test_a_browser_logs_in_changes_with_its_mark_and_logs_out(served):
    form = get(f"{served.url}/login")
    (mark,) = re.findall(r'name="csrf" value="(\w+)"', form.text)
    kept = form.cookies[0].partition(";")[0]
    fields = {"csrf": mark, "token": OPERATOR, "next": "/api/v1/me"}
    answer = submit(f"{served.url}/login", fields, cookie=kept)
    assert (answer.status, answer.headers["location"]) == (303, "/api/v1/me")
    cookie = answer.cookies[0].partition(";")[0]
    me = get(f"{served.url}/api/v1/me", cookie=cookie).json
    assert (me["name"], me["role"], me["by"]) == ("anna", "operate", "session")
    resume = f"{served.url}/api/v1/resume"
    assert post(resume, cookie=cookie).status == 403
    assert post(resume, cookie=cookie, x_csrf_token=me["csrf"]).status == 200
    fields = {"csrf": me["csrf"]}
    assert submit(f"{served.url}/logout", fields, cookie=cookie).status == 303
    assert get(f"{served.url}/api/v1/me", cookie=cookie).status == 401


def test_events_tell_the_overview_when_it_changes_and_go_on_where_they_were(
    served, followers
):
    first = followers(served)
    kind, ident, told = next(first)
    assert kind == "overview"
    assert {zone["zone"] for zone in told["zones"]} == {"default"}
    before = told["zones"][0]["outcomes"]["indexed"]
    served.zone.drop("later.txt", b"one more about ships")
    wait_for(
        lambda: next(first)[2]["zones"][0]["outcomes"]["indexed"] == before + 1,
        "the file is told",
    )
    # Who knows an older one gets the newest at once.
    assert next(followers(served, ident))[1] != ident


def _events(served: Served, known: str = "") -> Iterator[tuple[str, str, Any]]:
    connection = connect(served.url)
    headers = {"authorization": f"Bearer {READER}", "last-event-id": known}
    connection.request("GET", "/api/v1/events", headers=headers)
    with contextlib.closing(connection), connection.getresponse() as answer:
        yield from _read(answer)


def _read(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    fields: dict[str, str] = {}
    while line := answer.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if line == b"\n" and "data" in fields:
            if fields["event"] != "beat":
                yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}
        elif name:
            fields[name] = value


def test_requests_made_from_the_description_find_nothing(served, tmp_path):
    """Schemathesis makes requests from the description, right and wrong ones."""
    described = tmp_path / "openapi.json"
    described.write_bytes(served.get("/openapi.json").body)
    (tmp_path / "hooks.py").write_text(_HOOKS)
    (tmp_path / "schemathesis.toml").write_text(_RULES)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run"),
            *(str(described), "--url", served.url, "--seed", "1", "--no-color"),
            *("--header", f"Authorization: Bearer {OPERATOR}"),
            # Wrong tokens make the address wait; who gets in is tried above. Events
            # never end, and pauses would hold up the other tests.
            *("--exclude-checks", "ignored_auth"),
            *("--exclude-path-regex", "/(events|doctor|pause)$"),
            *("--phases", "fuzzing", "--max-examples", "4", "--no-shrink"),
            *("--request-timeout", "60"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
