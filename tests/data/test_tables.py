"""Tables as spreadsheets, editors and scripts write them."""

import pytest

from benchbcss.data.labels import official_codes, read_code_table
from benchbcss.data.tables import read_table
from benchbcss.errors import DataError

PLAIN = "filename,split\na.png,train\nb.png,test\n"
EXPECTED = [("a.png", "train"), ("b.png", "test")]

VARIANTS = {
    "byte-order mark and CRLF": b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(),
    "old Mac line ends": PLAIN.replace("\n", "\r").encode(),
    "UTF-16": PLAIN.encode("utf-16"),
    "blank rows": (PLAIN + ",\n\n,\n").encode(),
    "blank rows first": (",\n" + PLAIN).encode(),
    "header case": PLAIN.replace("filename,split", "Filename,SPLIT").encode(),
    "blanks": PLAIN.replace(",", " , ").encode(),
    "semicolons": PLAIN.replace(",", ";").encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "sep line": b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
    "empty columns": PLAIN.replace("\n", ",,\n").encode(),
    "quotes": b'"filename","split"\n"a.png","train"\n"b.png","test"\n',
    "no last newline": PLAIN.rstrip().encode(),
}


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_they_are_read_alike(tmp_path, name):
    (tmp_path / "t.csv").write_bytes(VARIANTS[name])
    rows = read_table(tmp_path / "t.csv", ("filename", "split"))
    assert [(row["filename"], row["split"]) for _, row in rows] == EXPECTED


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path):
    (tmp_path / "t.csv").write_text("sep=,\nfilename,split\n\na,train\n")
    assert [number for number, _ in read_table(tmp_path / "t.csv", ("filename",))] == [4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"file;split\na;train\n", "needs the columns filename,split; it has file,split"),
        (b"filenam,split\na,train\n", "Rename 'filenam' to 'filename'"),
        (b"filename,split\na,b,train\n", "row 2: there are more cells than columns"),
        (b"filename,split,split\na,train,test\n", "the column 'split' twice"),
        (b"filename,split\n\xe4.png,train\n", "row 2 is not UTF-8. Save it as 'CSV UTF-8'"),
        (b"PK\x03\x04" + bytes(40), "is an Excel workbook. Save it as"),
        (bytes(40), "it is not text"),
        (b'filename,split\n"a.png,train\n', "cannot be read as a table"),
    ],
)
def test_others_say_what_to_change(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / "t.csv", ("filename", "split"))
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize("delimiter", ["\t", ";", ","])
def test_a_code_table_from_a_spreadsheet(tmp_path, delimiter):
    rows = [("label", "GT_code"), *((name, str(code)) for name, code in official_codes().items())]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "gtruth_codes.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_code_table(tmp_path / "gtruth_codes.tsv") == official_codes()
