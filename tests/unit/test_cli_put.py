"""Files are put into input/ whole and under a free name, after any crash."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropzone.commands import gather
from dropzone.errors import UsageError, ZoneError
from dropzone.put import Placed, Putter, Source
from dropzone.readiness import NameFilter
from zones_helpers import python

ROOT = os.geteuid() == 0
NAMES = NameFilter()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "drop_zones"


@pytest.fixture
def putter(root: Path) -> Iterator[Putter]:
    with Putter(root) as made:
        yield made


def _source(path: Path, below: bytes | str, content: bytes = b"content") -> Source:
    path.write_bytes(content)
    return Source(os.fsencode(path), os.fsencode(below), len(content))


def _put(putter: Putter, source: Source) -> Placed:
    return putter.put(source, lambda _: None)


def test_a_copy_arrives_with_its_time_and_nothing_is_left_aside(
    root: Path, tmp_path: Path
) -> None:
    source = _source(tmp_path / "a.txt", "papers/deep/a.txt")
    os.utime(source.file, ns=(1, 1_500_000_000_123_456_789))
    seen: list[int] = []
    with Putter(root) as putter:
        placed = putter.put(source, seen.append)
    there = root / "input" / "papers" / "deep" / "a.txt"
    status = there.stat()
    assert there.read_bytes() == b"content"
    assert status.st_mtime_ns == 1_500_000_000_123_456_789
    assert (placed.inode, placed.device) == (status.st_ino, status.st_dev)
    assert sum(seen) == 7
    assert not list((root / "state" / "incoming").iterdir())


def test_a_taken_name_gets_a_number(root: Path, putter: Putter, tmp_path: Path) -> None:
    source = _source(tmp_path / "a.tar", "a.tar")
    paths = [_put(putter, source).path for _ in range(3)]
    assert paths == [b"a.tar", b"a~2.tar", b"a~3.tar"]
    assert len(list((root / "input").iterdir())) == 3


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.txt", b"new\nline", b"x" * 255, b"y" * 250 + b".text"]
)
def test_every_name_is_kept_and_finds_a_free_one(
    root: Path, putter: Putter, tmp_path: Path, name: bytes
) -> None:
    source = _source(tmp_path / "plain", name)
    assert _put(putter, source).path == name
    other = _put(putter, source).path
    assert other != name
    assert len(other) <= 255
    assert set(os.listdir(os.fsencode(root / "input"))) == {name, other}


def test_a_pipe_that_took_the_files_place_does_not_hang(
    putter: Putter, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no plain file"):
        _put(putter, Source(os.fsencode(tmp_path / "pipe"), b"pipe", 0))


def test_copies_of_a_killed_command_are_removed_and_those_of_a_live_one_stay(
    root: Path, putter: Putter, tmp_path: Path
) -> None:
    incoming = root / "state" / "incoming"
    (mine,) = incoming.iterdir()
    abandoned = incoming / "add-0123"
    abandoned.mkdir()
    (abandoned / "half").write_bytes(b"half")
    (incoming / "other").mkdir()
    with Putter(root):
        assert {mine, incoming / "other"} < set(incoming.iterdir())
        assert not abandoned.exists()
    assert _put(putter, _source(tmp_path / "a", "a")).path == b"a"


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
def test_what_root_puts_in_belongs_to_the_owner_of_input(
    root: Path, tmp_path: Path
) -> None:
    (root / "input").mkdir(parents=True)
    os.chown(root / "input", 65534, 65534)
    with Putter(root) as putter:
        _put(putter, _source(tmp_path / "a", "new/folder/a"))
    for path in ("new", "new/folder", "new/folder/a"):
        assert (root / "input" / path).stat().st_uid == 65534


@pytest.mark.skipif(not ROOT, reason="needs another user to be")
def test_a_zone_of_another_user_is_refused_with_a_sentence(open_root: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from dropzone.errors import ZoneError
        from dropzone.put import Putter
        os.setuid(65534)
        try:
            Putter(Path(sys.argv[1]))
        except ZoneError as error:
            print(error.message)
    """
    os.chown(open_root, 0, 0)
    open_root.chmod(0o755)
    assert "Nothing can be written" in python(code, open_root)


def test_a_zone_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zone").write_bytes(b"")
    with pytest.raises(ZoneError, match="Nothing can be written"):
        Putter(tmp_path / "zone")


# What is gathered


def _gather(
    *paths: Path, zone: Path = Path("/nowhere")
) -> tuple[set[bytes], list[str]]:
    sources, left = gather.files(paths, b"", zone, NAMES)
    return {source.path for source in sources}, sorted(item.reason for item in left)


def test_a_folder_comes_with_its_name_and_without_what_cannot_be_taken(
    tmp_path: Path,
) -> None:
    top = tmp_path / "papers"
    (top / "2024").mkdir(parents=True)
    (top / "2024" / "a.pdf").write_bytes(b"a")
    (top / "b.md").write_bytes(b"b")
    (top / ".hidden").write_bytes(b"")
    (top / "link").symlink_to("b.md")
    os.mkfifo(top / "pipe")
    taken, left = _gather(top)
    assert taken == {b"papers/2024/a.pdf", b"papers/b.md"}
    assert left == [
        "has a hidden or temporary name",
        "is a symbolic link",
        "is not a plain file",
    ]


def test_a_link_that_is_named_stands_for_its_file(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(b"x")
    (tmp_path / "name.txt").symlink_to("real.txt")
    sources, _ = gather.files([tmp_path / "name.txt"], b"c", Path("/nowhere"), NAMES)
    assert sources == [Source(os.fsencode(tmp_path / "real.txt"), b"c/name.txt", 1)]


def test_what_cannot_be_added_is_said_before_anything_is(tmp_path: Path) -> None:
    zone = tmp_path / "drop_zones"
    (zone / "input").mkdir(parents=True)
    (tmp_path / "x.tmp").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "x.tmp", tmp_path / "pipe", tmp_path / "nothing"):
        with pytest.raises(UsageError):
            _gather(path)
    for folder in (tmp_path, zone, zone / "input"):
        with pytest.raises(UsageError, match="holds the zone"):
            _gather(folder, zone=zone)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".x", "x.tmp", "~a"])
def test_names_that_no_collection_can_have(name: str) -> None:
    with pytest.raises(UsageError):
        gather.collection(name, NAMES)


def test_a_collection_is_the_folder_of_its_name() -> None:
    assert gather.collection("Études 2024", NAMES) == "Études 2024".encode()
