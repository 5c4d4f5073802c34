"""Text formats: what is read, what is told apart, what is kept from the database."""

import json
import random
import subprocess
import sys

import pytest

from dropzone.extract import doc_type_of, is_supported, read

LIMIT = 100_000


def text_of(found):
    return "\n\n".join(block.text for block in found.blocks)


@pytest.mark.parametrize(
    ("name", "doc_type"),
    [
        (b"a.PDF", "pdf"),
        (b"notes.text", "txt"),
        (b"server.log", "txt"),
        (b"data.ndjson", "json"),
        (b"rows.tsv", "csv"),
        (b"page.HTM", "html"),
        (b"report.final.docx", "docx"),
        (b"archive.tar.gz", "gz"),
        (b"README", "bin"),
        (b".bashrc", "bin"),
        (b"x.", "bin"),
        (b"x." + b"a" * 17, "bin"),
        ("x.größe".encode(), "bin"),
        (b"x.p\xffdf", "bin"),
        (b"x.a b", "bin"),
    ],
)
def test_the_format_follows_the_name(name, doc_type):
    assert doc_type_of(name) == doc_type


def test_only_formats_with_a_reader_are_supported():
    assert is_supported("pdf")
    assert not is_supported("gz")
    assert not is_supported("bin")


def test_importing_the_package_loads_no_parser():
    code = (
        "import sys, dropzone.extract, dropzone.embed, dropzone.executor.parsers\n"
        "print({'xberg', 'pypdfium2', 'docx', 'numpy'} & set(sys.modules))"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, check=True
    )

    assert done.stdout == b"set()\n"


@pytest.mark.parametrize(
    ("encoding", "notes"),
    [
        ("utf-8", ()),
        ("utf-8-sig", ()),
        ("utf-16", ()),
        ("utf-16-le", ()),
        ("utf-16-be", ()),
        ("utf-32", ()),
        ("cp1252", ("decoded as cp1252",)),
    ],
)
def test_plain_text_is_read_in_the_encodings_people_use(encoding, notes):
    text = "Ein Satz über Füße und naïve Cafés, lang genug zum Raten.\nZweite Zeile."

    found = read(text.encode(encoding), "txt", LIMIT)

    assert text_of(found) == text
    assert found.notes == notes


def test_line_ends_become_newlines():
    assert text_of(read(b"one\r\ntwo\rthree", "txt", LIMIT)) == "one\ntwo\nthree"


def test_a_few_bad_bytes_do_not_turn_utf8_into_another_encoding():
    data = "Füße über Straßen und Wäldern. ".encode() * 20 + b"\xff"

    found = read(data, "txt", LIMIT)

    assert found.notes == ("invalid_utf8",)
    assert found.blocks[0].text.startswith("Füße über")


@pytest.mark.parametrize("doc_type", ["txt", "md", "json", "csv", "html"])
@pytest.mark.parametrize(
    "data", [random.Random(5).randbytes(20_000), b"\x7fELF" + bytes(5000)]
)
def test_binary_under_a_text_name_has_no_blocks(doc_type, data):
    found = read(data, doc_type, LIMIT)

    assert found.blocks == ()
    assert found.notes == ("binary",)


@pytest.mark.parametrize("doc_type", ["txt", "md", "csv", "html"])
@pytest.mark.parametrize("data", [b"", b" \n\t "])
def test_blank_files_say_that_there_is_no_text(doc_type, data):
    found = read(data, doc_type, LIMIT)

    assert found.blocks == ()
    assert found.notes == ("no_text",)


def test_what_postgres_refuses_never_comes_out():
    page = b"<title>a&#0;b</title><h1>h\x00</h1><p>c\x00d \xed\xa0\x80"

    found = read(page, "html", LIMIT)

    for value in (text_of(found), *found.metadata.values(), *found.blocks[0].heading):
        assert "\x00" not in value
        value.encode("utf-8")


def test_letters_are_taken_together_with_their_marks():
    data = b"# Gro\xcc\x88\xc3\x9fe\n\n" + "e\u0301 ".encode() * 1000
    first = read(data, "md", 9000).blocks[0]
    assert first.heading == ("Größe",)
    assert set(first.text.partition("\n")[2].split()) == {"é"}


def test_text_over_the_limit_is_cut_and_says_so():
    found = read(("ä" * 5000).encode(), "txt", 1000)

    assert text_of(found) == "ä" * 1000
    assert found.notes == ("truncated_text",)
    assert read(b"x" * 1000, "txt", 1000).notes == ()


def test_the_limit_counts_over_all_blocks():
    found = read(b"# A\n\none\n\n# B\n\ntwo", "md", 12)

    assert [block.text for block in found.blocks] == ["# A\n\none", "# B"]
    assert found.notes == ("truncated_text",)


def test_markdown_is_cut_at_its_headings():
    text = b"""---
title: "From the front"
---
Before.

# Top #

Under.

Second
------

## Deeper

```
# not a heading
```

# Other
"""
    found = read(text, "md", LIMIT)

    assert [block.heading for block in found.blocks] == [
        (),
        ("Top",),
        ("Top", "Second"),
        ("Top", "Deeper"),
        ("Other",),
    ]
    assert "not a heading" in found.blocks[3].text
    assert found.metadata == {"title": "From the front"}


def test_without_front_matter_the_first_heading_is_the_title():
    assert read(b"text\n\n# Name\n", "md", LIMIT).metadata == {"title": "Name"}
    assert read(b"text", "md", LIMIT).metadata == {}


def test_json_becomes_lines_of_path_and_value():
    value = {"a": {"b": [1, {"c": "text"}]}, "d": None, "e": True}

    found = read(json.dumps(value).encode(), "json", LIMIT)

    assert text_of(found).splitlines() == [
        "a.b[0]: 1",
        "a.b[1].c: text",
        "d: null",
        "e: true",
    ]


def test_json_lines_are_read_one_by_one():
    assert text_of(read(b'{"a":1}\n\n{"a":2}\n', "json", LIMIT)) == "a: 1\na: 2"


@pytest.mark.parametrize("data", [b'{"a": 1', b"[" * 100_000, b"1" * 5000])
def test_json_that_cannot_be_parsed_is_indexed_as_text(data):
    found = read(data, "json", LIMIT)

    assert text_of(found) == data.decode()
    assert found.notes == ("invalid_json",)


def test_json_too_big_for_a_tree_is_indexed_as_text(monkeypatch):
    monkeypatch.setattr("dropzone.extract.json_lines._TREE_CHARACTERS", 10)

    assert text_of(read(b'{"key": "value"}', "json", LIMIT)) == '{"key": "value"}'


def test_json_that_unfolds_beyond_the_limit_is_cut():
    data = json.dumps({"k" * 1000: [1] * 10_000}).encode()

    found = read(data, "json", LIMIT)

    assert found.notes == ("truncated_text",)
    assert len(text_of(found)) < LIMIT * 1.1


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_rows_carry_their_headers(delimiter):
    rows = [["name", "price"], ["tea", "3,50"], ["", "2"], ["big, red", "1"]]
    data = "\n".join(
        delimiter.join(f'"{cell}"' if "," in cell else cell for cell in row)
        for row in rows
    )

    found = read(data.encode(), "csv", LIMIT)

    assert text_of(found).splitlines() == [
        "name, price",
        "name: tea, price: 3,50",
        "price: 2",
        "name: big, red, price: 1",
    ]


def test_csv_without_a_header_keeps_its_rows():
    assert text_of(read(b"1,tea\n2,milk", "csv", LIMIT)) == "1, tea\n2, milk"


def test_a_long_row_keeps_cells_beyond_the_header():
    assert text_of(read(b"a,b\n1,2,3", "csv", LIMIT)) == "a, b\na: 1, b: 2, 3"


@pytest.mark.parametrize(
    "data", [b"just one column\nof lines", b'a,b\n"' + b"x" * 200_000]
)
def test_csv_that_is_none_is_indexed_as_text(data):
    assert text_of(read(data, "csv", 10**6)) == data.decode()


def test_many_rows_become_blocks_of_whole_rows():
    data = "name,value\n" + "".join(f"item {n},{n}\n" for n in range(200))

    found = read(data.encode(), "csv", LIMIT)

    assert len(found.blocks) > 5
    assert all(
        line.startswith("name: ") for line in text_of(found).split("\n")[1:] if line
    )


def test_html_keeps_what_is_read_and_drops_what_is_not():
    page = b"""<!doctype html><html><head><title> My
    &amp; page </title><meta name="Description" content="About it">
    <style>b{}</style><script>var x=1</script></head><body>
    <nav><a href=/>Home</a></nav><h1>Head <b>one</b></h1>
    <p>Para <b>bold</b> text&nbsp;here<br>next line<ul><li>one<li>two</ul>
    <h2>Sub</h2><table><tr><td>a<td>b</table><pre>code
  kept</pre><script>hidden()</script>after</body></html>"""

    found = read(page, "html", LIMIT)

    assert found.metadata == {"title": "My & page", "description": "About it"}
    assert [(block.heading, block.text) for block in found.blocks] == [
        (
            ("Head one",),
            "Head one\n\nPara bold text\xa0here\nnext line\n\none\ntwo",
        ),
        (("Head one", "Sub"), "Sub\n\na b\n\ncode\nkept\n\nafter"),
    ]


def test_html_is_read_in_the_encoding_it_declares():
    page = '<meta charset="koi8-r"><p>Привет, мир'.encode("koi8-r")

    assert text_of(read(page, "html", LIMIT)) == "Привет, мир"


@pytest.mark.parametrize("charset", [b"nonsense", b"base64", b"utf-16", b"latin-1"])
def test_a_wrong_declaration_does_not_hide_the_text(charset):
    page = b"<meta charset=%s><p>caf\xe9 au lait, encore" % charset

    assert text_of(read(page, "html", LIMIT)) == "café au lait, encore"


def test_deeply_nested_html_is_read():
    page = b"<div>" * 20_000 + b"deep text" + b"</div>" * 20_000

    assert text_of(read(page, "html", LIMIT)) == "deep text"


def test_an_element_that_is_never_closed_does_not_hide_the_page():
    assert text_of(read(b"<nav><p>All the text", "html", LIMIT)) == "All the text"


def test_a_malformed_declaration_leaves_the_rest_as_text():
    found = read(b"<p>before<![bad[ x <p>after</p>", "html", LIMIT)

    assert "before" in text_of(found)
    assert "after" in text_of(found)
    assert found.notes == ("partial",)


def test_comments_that_never_end_take_no_time():
    assert text_of(read(b"<p>text" + b"<!--" * 200_000, "html", LIMIT)) == "text"
