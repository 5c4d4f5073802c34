import hashlib
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropzone.errors import ServiceUnavailable, ZoneError
from dropzone.receipts import GENESIS, Position, Receipts
from zones_helpers import python

START = Position.load(None)
ONE, TWO, THREE = {"job": "1"}, {"job": "2", "é": "\ud800"}, {"job": "3"}


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "receipts"


@pytest.fixture
def opened(directory):
    made = []

    def open_them(known=START):
        receipts = Receipts(directory)
        made.append(receipts)
        return receipts, list(receipts.recover(known))

    yield open_them
    for receipts in made:
        receipts.close()


def jobs(found):
    return [receipt["job"] for receipt in found]


def test_receipts_come_back_in_order_over_the_months(opened, directory):
    receipts, found = opened()
    assert found == []
    receipts.append([ONE, TWO], "2026-01")
    end = receipts.append([THREE], "2026-02")
    assert end == receipts.end
    again, found = opened()
    assert jobs(found) == ["1", "2", "3"]
    assert found[1] == {**TWO, "chain": found[1]["chain"]}
    assert again.end == end
    assert sorted(os.listdir(directory)) == ["2026-01.jsonl", "2026-02.jsonl"]


def test_each_receipt_is_one_line_of_ascii_that_others_can_check(opened, directory):
    receipts, _ = opened()
    receipts.append([ONE, TWO, THREE], "2026-01")
    chain = GENESIS
    for line in (directory / "2026-01.jsonl").read_text("ascii").splitlines():
        told = json.loads(line).pop("chain")
        body = line.replace(f', "chain": "{told}"', "")
        chain = hashlib.sha256(f"{chain}\n{body}".encode()).hexdigest()
        assert chain == told


def test_only_what_lies_behind_a_mark_is_read(opened):
    receipts, _ = opened()
    mark = receipts.append([ONE], "2026-01")
    receipts.append([TWO], "2026-01")
    receipts.append([THREE], "2026-02")
    _, found = opened(Position.load(mark.dump()))
    assert jobs(found) == ["2", "3"]
    _, found = opened(receipts.end)
    assert found == []


def test_a_month_that_begins_with_a_torn_line_is_begun_again(opened, directory):
    receipts, _ = opened()
    receipts.append([ONE], "2026-01")
    (directory / "2026-02.jsonl").write_bytes(b'{"job": "torn')
    again, found = opened()
    assert jobs(found) == ["1"]
    again.append([TWO], "2026-02")
    _, found = opened()
    assert jobs(found) == ["1", "2"]


def test_a_clock_set_back_a_month_writes_on_in_the_later_file(opened, directory):
    receipts, _ = opened()
    receipts.append([ONE], "2026-02")
    receipts.append([TWO], "2026-01")
    assert os.listdir(directory) == ["2026-02.jsonl"]
    assert jobs(opened()[1]) == ["1", "2"]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_torn_last_line_is_cut_wherever_it_tore(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("receipts")
    receipts = Receipts(directory)
    list(receipts.recover(START))
    kept = receipts.append([ONE], "2026-01").offset
    whole = receipts.append([TWO], "2026-01").offset
    receipts.close()
    file = directory / "2026-01.jsonl"
    os.truncate(file, data.draw(st.integers(kept, whole - 1)))
    again = Receipts(directory)
    assert jobs(again.recover(START)) == ["1"]
    assert file.stat().st_size == again.end.offset == kept
    again.append([THREE], "2026-01")
    again.close()
    last = Receipts(directory)
    assert jobs(last.recover(START)) == ["1", "3"]
    last.close()


TAMPERED = {
    "changed": lambda lines: [lines[0].replace(b'"1"', b'"9"'), *lines[1:]],
    "first removed": lambda lines: lines[1:],
    "middle removed": lambda lines: [lines[0], lines[2]],
    "doubled": lambda lines: [lines[0], lines[0], *lines[1:]],
    "swapped": lambda lines: [lines[1], lines[0], *lines[2:]],
    "blank": lambda lines: [b"\n", *lines],
    "no JSON": lambda lines: [b"no json\n", *lines],
    "a list": lambda lines: [b"[1]\n", *lines],
    "a text": lambda lines: [b'"text"\n', *lines],
    "no chain": lambda lines: [b'{"job": "0"}\n', *lines],
    "a number for chain": lambda lines: [b'{"chain": 5}\n', *lines],
    "not ASCII": lambda lines: ["ü\n".encode(), *lines],
    "other spaces": lambda lines: [lines[0].replace(b": ", b":"), *lines[1:]],
    "zeros": lambda lines: [b"\0" * 50 + b"\n", *lines],
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_a_change_of_what_was_written_is_found(opened, directory, tamper):
    receipts, _ = opened()
    receipts.append([ONE, TWO, THREE], "2026-01")
    file = directory / "2026-01.jsonl"
    file.write_bytes(b"".join(tamper(file.read_bytes().splitlines(keepends=True))))
    with pytest.raises(ZoneError, match=r"2026-01\.jsonl were changed") as caught:
        opened()
    assert "backup" in caught.value.hint


def test_a_month_that_is_missing_is_found(opened, directory):
    receipts, _ = opened()
    receipts.append([ONE], "2026-01")
    receipts.append([TWO], "2026-02")
    (directory / "2026-01.jsonl").unlink()
    with pytest.raises(ZoneError, match="were changed"):
        opened()


@pytest.mark.parametrize("left", [None, 0, 10])
def test_receipts_shorter_than_the_journal_knows_are_found(opened, directory, left):
    receipts, _ = opened()
    mark = receipts.append([ONE, TWO], "2026-01")
    file = directory / "2026-01.jsonl"
    if left is None:
        file.unlink()
    else:
        os.truncate(file, left)
    with pytest.raises(ZoneError, match="end at byte"):
        opened(mark)


def test_nothing_is_written_before_recovery(directory):
    receipts = Receipts(directory)
    (directory / "2026-01.jsonl").write_bytes(b"")
    with pytest.raises(ZoneError, match="recovered"):
        receipts.append([ONE], "")
    receipts.close()


def test_a_file_that_cannot_be_made_leaves_the_former_in_use(opened, directory):
    receipts, _ = opened()
    before = receipts.append([ONE], "2026-01")
    (directory / "2026-02.jsonl").mkdir()
    with pytest.raises(ServiceUnavailable) as caught:
        receipts.append([TWO], "2026-02")
    assert caught.value.service == "disk"
    assert receipts.end == before
    (directory / "2026-02.jsonl").rmdir()
    receipts.append([TWO], "2026-02")
    assert jobs(opened()[1]) == ["1", "2"]


def test_an_append_that_fails_half_way_leaves_no_part_of_a_line(directory):
    code = """
        import resource, signal, sys
        from pathlib import Path
        from dropzone.errors import ServiceUnavailable
        from dropzone.receipts import Position, Receipts
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        receipts = Receipts(Path(sys.argv[1]))
        list(receipts.recover(Position.load(None)))
        end = receipts.append([{"job": "1"}], "2026-01")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        # Room for one more line and a half.
        resource.setrlimit(resource.RLIMIT_FSIZE, (end.offset * 2 + 40, hard))
        for _ in range(2):
            try:
                receipts.append([{"job": "2"}, {"job": "3"}], "2026-01")
            except ServiceUnavailable as error:
                assert error.service == "disk"
                assert "too large" in error.message
            else:
                raise AssertionError("it fitted")
            assert receipts.end == end
            assert (Path(sys.argv[1]) / "2026-01.jsonl").stat().st_size == end.offset
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        receipts.append([{"job": "2"}], "2026-01")
        receipts.close()
    """
    python(code, directory)
    receipts = Receipts(directory)
    assert jobs(receipts.recover(START)) == ["1", "2"]
    receipts.close()


def test_what_a_failed_append_left_is_cut_by_the_next(opened, directory):
    receipts, _ = opened()
    receipts.append([ONE], "2026-01")
    with (directory / "2026-01.jsonl").open("ab") as file:
        file.write(b'{"job": "torn')
    receipts.append([TWO], "2026-01")
    assert jobs(opened()[1]) == ["1", "2"]


def test_a_link_in_place_of_a_file_is_not_followed(opened, directory, tmp_path):
    receipts, _ = opened()
    outside = tmp_path / "outside"
    outside.write_text("keep")
    (directory / "2026-01.jsonl").symlink_to(outside)
    with pytest.raises(ServiceUnavailable):
        receipts.append([ONE], "2026-01")
    assert outside.read_text() == "keep"
