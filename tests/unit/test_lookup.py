import json
import os
import unicodedata
from urllib.parse import quote

import pytest

from dropzone.journal import Journal
from dropzone.lookup import Zones
from dropzone.models import Outcome, Status
from dropzone.settings import Settings, Zone
from zones_helpers import new_job

FORMS = ["NFC", "NFD"]


@pytest.fixture
def root(tmp_path):
    for area in ("input", "processed", "state/receipts"):
        (tmp_path / area).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def journal(root):
    journal = Journal(root / "state" / "journal.sqlite")
    yield journal
    journal.close()


def zones_at(root):
    return Zones(Settings(zones=(Zone(path=root),)))


@pytest.mark.parametrize("asked", FORMS)
@pytest.mark.parametrize("folder", FORMS)
@pytest.mark.parametrize("name", FORMS)
def test_a_job_is_shown_whatever_unicode_form_its_name_has(
    root, journal, folder, name, asked
):
    # A folder made on one system may hold what another one put there.
    path = unicodedata.normalize(folder, "Büro/")
    path += unicodedata.normalize(name, "Übersicht.txt")
    file = root / "processed" / path
    file.parent.mkdir()
    file.write_text("x")
    ended = {"outcome": Outcome.INDEXED, "ended_at": 1.0, "end_reason": "indexed"}
    data = {"area": "processed", "place": quote(path)}
    journal.add([new_job(path.encode(), Status.DONE, data=data, **ended)])
    with zones_at(root) as zones:
        for words in ("Übersicht.txt", "Büro/Übersicht.txt", str(file)):
            (found,) = zones.show(unicodedata.normalize(asked, words))
            # The name itself stays as it was dropped.
            assert (found.job.path, found.lies_in) == (path.encode(), os.fsencode(file))
        no_text = os.fsdecode(b"\xff.txt")
        for words in ("Ubersicht.txt", "übersicht.txt", "sicht.txt", "ü", no_text):
            assert not zones.show(words)


def test_the_very_name_wins_over_the_same_in_another_form(root, journal):
    names = [unicodedata.normalize(form, "Übersicht.txt").encode() for form in FORMS]
    journal.add([new_job(name) for name in names])
    with zones_at(root) as zones:
        for name in names:
            assert [one.job.path for one in zones.show(name.decode())] == [name]


@pytest.mark.parametrize("asked", FORMS)
@pytest.mark.parametrize("dropped", FORMS)
def test_what_waits_is_found_whatever_unicode_form_its_name_has(root, dropped, asked):
    path = unicodedata.normalize(dropped, "Büro/Übersicht.txt")
    file = root / "input" / path
    file.parent.mkdir()
    file.write_text("x")
    with zones_at(root) as zones:
        for words in ("Büro/Übersicht.txt", str(file)):
            (found,) = zones.lying(unicodedata.normalize(asked, words))
            assert found.path == path.encode()
        (found,) = zones.lying(unicodedata.normalize(asked, "ÜBERS"), part=True)
        assert found.path == path.encode()


@pytest.mark.parametrize("asked", FORMS)
@pytest.mark.parametrize("dropped", FORMS)
def test_a_receipt_tells_of_a_name_in_whatever_unicode_form(
    root, journal, dropped, asked
):
    path = unicodedata.normalize(dropped, "Übersicht.txt")
    job = new_job(path.encode(), Status.DONE, outcome=Outcome.INDEXED, end_reason="x")
    journal.add([job])
    journal.drop([job])
    told = {
        "job": job.id,
        "zone": "default",
        "collection": "default",
        "name": path,
        "path": quote(path),
        "size": 1,
        "sha256": "0" * 64,
        "doc_type": "txt",
        "s3_key": "key",
        "attempts": 1,
        "outcome": "indexed",
        "reason": "",
        "ended_at": "2026-11-01T00:00:00+00:00",
        "batch": None,
    }
    line = json.dumps(told, ensure_ascii=False) + "\n"
    (root / "state" / "receipts" / "2026-11.jsonl").write_text(line)
    with zones_at(root) as zones:
        (found,) = zones.show(unicodedata.normalize(asked, "Übersicht.txt"))
    assert found.receipt == told
