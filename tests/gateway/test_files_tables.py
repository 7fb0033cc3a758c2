"""Files as tables: what each reader takes, where it says a row stands, and what it makes of a broken file."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.files.byte_stream import BLOCK_BYTES
from gateway.files.formats import open_table
from gateway.files.table import MAX_LINE_BYTES, BadRow, BrokenFileError, EpochMs, Row, Unreadable
from recommender.errors import BadInputError

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file and gives back its path."""

    def to(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return to


def read(path: Path, required: tuple[str, ...] = ("id",)) -> list[Row | BadRow]:
    table = open_table(path, required)
    try:
        return list(table)
    finally:
        table.close()
        table.close()


def cells(path: Path) -> list[tuple[int, list[Any]]]:
    """Line and values of each row; no row may be bad."""
    rows = read(path)
    assert all(isinstance(row, Row) for row in rows), rows
    return [(row.line, list(row.values)) for row in rows if isinstance(row, Row)]


def faults(path: Path) -> list[tuple[int, str]]:
    """Line and reason of each bad row."""
    return [(row.line, row.reason) for row in read(path) if isinstance(row, BadRow)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_csv_is_read_with_any_line_ends_and_with_or_without_a_byte_order_mark(
    write: Write, end: str, mark: bytes
) -> None:
    text = f'id, title {end}1,"two{end}lines, ""quoted"""{end}{end}2,Zürich 🚀{end}3,'
    path = write("a.csv", mark + text.encode())
    assert cells(path) == [(2, ["1", f'two{end}lines, "quoted"']), (5, ["2", "Zürich 🚀"]), (6, ["3", ""])]
    row = read(path)[0]
    assert isinstance(row, Row)
    assert row.columns == ("id", "title")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n", b"id,title\n", b"id,title"])
def test_a_csv_that_is_empty_or_has_only_a_header_has_no_rows(write: Write, content: bytes) -> None:
    assert read(write("a.csv", content)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title,skills\n", "column id is missing; found: title, skills"),
        (b"id;title\n", "column id is missing; found: id;title (columns are separated by commas)"),
        (b"id,x,id\n", "column id stands twice in the header"),
        (b'id,"x\n1,2\n', "the header is no CSV (unexpected end of data)"),
        (b"id,\xff\n1,2\n", "the header cannot be read: not UTF-8: byte 4 of the line"),
        ("id,x\n".encode("utf-16"), "the file is UTF-16; save it as UTF-8"),
    ],
)
def test_a_csv_whose_header_cannot_be_used_is_refused_whole(write: Write, content: bytes, message: str) -> None:
    path = write("a.csv", content)
    with pytest.raises(BadInputError) as refused:
        open_table(path, ("id",))
    assert str(refused.value) == f"{path}: {message}"


def test_two_missing_columns_are_named_together(write: Write) -> None:
    path = write("a.csv", b"x\n")
    with pytest.raises(BadInputError, match=r"columns id, type are missing; found: x$"):
        open_table(path, ("id", "type"))


def test_a_row_with_too_few_or_too_many_fields_is_a_bad_row(write: Write) -> None:
    path = write("a.csv", b"id,x\n1\n2,a\n3,b,c\n  \n")
    assert read(path) == [
        BadRow(2, "the row has 1 fields, the header 2", ["1"]),
        Row(3, ("id", "x"), ["2", "a"]),
        BadRow(4, "the row has 3 fields, the header 2", ["3", "b", "c"]),
    ]


def test_a_quote_left_open_costs_its_own_line_and_no_good_row(write: Write) -> None:
    path = write("a.csv", b'id,x\n1,"open\n2,b\n3,"quo""ted\nlines"\n4,"12" wide"\n5,"open\n6,c\n')
    rows = read(path)
    assert [row.line for row in rows if isinstance(row, BadRow)] == [2, 6, 7]
    assert [(row.line, row.values) for row in rows if isinstance(row, Row)] == [
        (3, ["2", "b"]),
        (4, ["3", 'quo"ted\nlines']),
        (8, ["6", "c"]),
    ]
    assert "a quote is left open" in faults(path)[-1][1]


def test_an_open_quote_before_many_rows_costs_one_row(write: Write) -> None:
    rows = b"".join(b"%d,some text without quotes\n" % number for number in range(30_000))
    path = write("a.csv", b'id,x\n0,"open\n' + rows)
    found = read(path)
    assert found[0] == BadRow(2, "a field is longer than 131072 characters: is a quote left open?", '0,"open')
    assert len(found) == 30_001
    assert found[-1] == Row(30_002, ("id", "x"), ["29999", "some text without quotes"])


def test_lines_that_are_not_utf_8_are_bad_rows_also_inside_a_quoted_field(write: Write) -> None:
    path = write("a.csv", b'id,x\n1,\xff\n2,"a\n\xfe"\n3,\xc3\xa9\n')
    assert faults(path) == [(2, "not UTF-8: byte 3 of the line"), (3, "not UTF-8: byte 1 of the line")]
    assert [row.values for row in read(path) if isinstance(row, Row)] == [["3", "é"]]


def test_an_overlong_line_is_one_bad_row_even_inside_quotes(write: Write) -> None:
    long = b"y" * MAX_LINE_BYTES
    path = write("a.csv", b"id,x\n1," + long + b'\n2,b\n3,"' + long + b'\nthe end of it"\n4,d\n')
    too_long = f"the line is longer than {MAX_LINE_BYTES} bytes"
    assert faults(path) == [(2, too_long), (4, too_long)]
    assert [(row.line, row.values) for row in read(path) if isinstance(row, Row)] == [(3, ["2", "b"]), (6, ["4", "d"])]
    assert all(len(str(row)) < 1000 for row in read(path))


def test_a_line_is_taken_or_refused_by_its_length_wherever_the_blocks_are_cut(write: Write) -> None:
    for before in (0, 1000, BLOCK_BYTES - 10, BLOCK_BYTES):
        for length, taken in ((MAX_LINE_BYTES, True), (MAX_LINE_BYTES + 1, False)):
            line = b'{"id":"' + b"x" * (length - 10) + b'"}'
            path = write("a.jsonl", b"\n" * before + line + b"\n")
            assert (faults(path) == []) is taken


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), st.text(alphabet='a",\r\n;é', max_size=8)),
        max_size=8,
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_what_is_read(write: Write, rows: list[tuple[str, str]], end: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("id", "x"), *rows])
    assert [values for _, values in cells(write("a.csv", text.getvalue().encode()))] == [list(row) for row in rows]


def test_json_lines_are_rows_of_their_own_columns_with_numbers_to_the_last_digit(write: Write) -> None:
    path = write(
        "a.jsonl",
        b'\xef\xbb\xbf{"id":1,"pay":0.10000000000000000555}\r\n\n {"x":null}\n{"id":12345678901234567890123.0}',
    )
    assert read(path) == [
        Row(1, ("id", "pay"), (1, Decimal("0.10000000000000000555"))),
        Row(3, ("x",), (None,)),
        Row(4, ("id",), (Decimal("12345678901234567890123.0"),)),
    ]


def test_an_integer_beyond_64_bits_stays_an_integer(write: Write) -> None:
    assert cells(write("a.ndjson", b'{"id":123456789012345678901234567890}')) == [(1, [123456789012345678901234567890])]


def test_lines_that_are_no_json_objects_are_bad_rows(write: Write) -> None:
    deep = b"[" * 990 + b"]" * 990
    path = write(
        "a.json",
        b'[1]\n{"id":\n{"id":"\xff"}\n{"id":1e999}\nNaN\n{"id":"\\ud800"}\n"x"\n{"id":0.5,"deep":'
        + deep
        + b'}\n{"id":2}\n',
    )
    rows = read(path)
    assert [row.line for row in rows if isinstance(row, BadRow)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert rows[0] == BadRow(1, "a line must be a JSON object; got a list", "[1]")
    assert rows[1] == BadRow(2, "no JSON: unexpected end of data at column 7", '{"id":')
    assert rows[8] == Row(9, ("id",), (2,))


@pytest.mark.parametrize("name", ["a.csv.gz", "A.CSV.GZ"])
def test_gzip_of_several_members_is_read_to_the_end(write: Write, name: str) -> None:
    assert cells(write(name, gzip.compress(b"id,x\n1,2\n") + gzip.compress(b"3,4\n"))) == [
        (2, ["1", "2"]),
        (3, ["3", "4"]),
    ]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_torn_gzip_gives_every_whole_row_and_says_where_it_breaks(write: Write, name: str) -> None:
    lines = [b"id,x"] if "csv" in name else []
    lines += [
        b"%d,%d" % (n, n * n * 7919 % 100_003) if "csv" in name else b'{"id":%d}' % (n * n) for n in range(50_000)
    ]
    whole = gzip.compress(b"\n".join(lines))
    table = open_table(write(name, whole[: len(whole) // 2]), ())
    rows: list[Any] = []
    with pytest.raises(BrokenFileError, match="the gzip data ends too early") as broken:
        iter_into(table, rows)
    table.close()
    assert 10_000 < len(rows) < 40_000
    assert broken.value.line == rows[-1].line + 1
    assert lines[rows[-1].line - 1].decode() in (",".join(map(str, rows[-1].values)), f'{{"id":{rows[-1].values[0]}}}')


def iter_into(table: Any, rows: list[Any]) -> None:
    """Fill `rows` row by row, so that they are there when reading fails."""
    for row in table:
        rows.append(row)  # noqa: PERF402


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz", "a.parquet.gz"])
def test_what_is_no_gzip_is_refused_whole(write: Write, name: str) -> None:
    path = write(name, b"id,x\n1,2\n")
    with pytest.raises(BadInputError, match="the gzip data is"):
        open_table(path, ("id",))


def test_gzip_with_garbage_behind_it_keeps_its_rows(write: Write) -> None:
    table = open_table(write("a.csv.gz", gzip.compress(b"id\n1\n") + b"garbage"), ("id",))
    rows: list[Any] = []
    with pytest.raises(BrokenFileError, match="damaged"):
        iter_into(table, rows)
    table.close()
    assert [row.values for row in rows] == [["1"]]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.gz", "a.tar.gz", ".csv"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(write: Write, name: str) -> None:
    with pytest.raises(
        BadInputError, match=r"allowed: \.csv, \.jsonl, \.ndjson, \.json, \.parquet, each also with \.gz"
    ):
        open_table(write(name, b""), ())


def test_a_missing_file_and_a_directory_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("none.csv", "none.jsonl", "none.parquet"):
        with pytest.raises(BadInputError, match=f"{name}: there is no such file"):
            open_table(tmp_path / name, ())
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(BadInputError, match=r"folder\.csv is a directory"):
        open_table(tmp_path / "folder.csv", ())


def write_parquet(path: Path, table: pa.Table, *, zipped: bool = False) -> Path:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=3)
    path.write_bytes(gzip.compress(buffer.getvalue()) if zipped else buffer.getvalue())
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_parquet_times_of_every_unit_and_zone_become_epoch_milliseconds(tmp_path: Path, zipped: bool) -> None:
    moment = datetime(2025, 3, 1, 12, tzinfo=UTC)
    units = ("s", "ms", "us", "ns")
    naive = {f"naive_{unit}": pa.array([moment.replace(tzinfo=None)], pa.timestamp(unit)) for unit in units}
    zoned = {f"zoned_{unit}": pa.array([moment], pa.timestamp(unit, "Asia/Tokyo")) for unit in units}
    days = {"day": pa.array([date(1970, 1, 2)], pa.date32()), "day64": pa.array([date(1970, 1, 2)], pa.date64())}
    fine = {"fine": pa.array([-1], pa.timestamp("ns")), "far": pa.array([2**62], pa.timestamp("us"))}
    name = "a.parquet.gz" if zipped else "a.parquet"
    path = write_parquet(tmp_path / name, pa.table({**naive, **zoned, **days, **fine}), zipped=zipped)
    ((line, values),) = [(row.line, row.values) for row in read(path, ()) if isinstance(row, Row)]
    at = int(moment.timestamp() * 1000)
    assert (line, list(values)) == (1, [at] * 8 + [86_400_000] * 2 + [-1, 2**62 // 1000])
    assert {type(value) for value in values} == {EpochMs}


def test_parquet_values_of_every_kind_come_as_what_they_are(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffa")]
    )
    table = pa.table(
        {
            "id": pa.array([1, 2**63], pa.uint64()),
            "single": pa.array([0.1, None], pa.float32()),
            "exact": pa.array([Decimal("1.50"), None], pa.decimal128(20, 2)),
            "skills": pa.array([["Go", None], []], pa.list_(pa.string())),
            "word": pa.array(["a", None]).dictionary_encode(),
            "broken": text,
        }
    )
    rows = read(write_parquet(tmp_path / "a.parquet", table))
    assert [list(row.values) for row in rows if isinstance(row, Row)] == [
        [1, 0.1, Decimal("1.50"), ["Go", None], "a", rows[0].values[5]],  # type: ignore[union-attr]
        [2**63, None, None, [], None, "a"],
    ]
    assert type(rows[0].values[5]) is Unreadable  # type: ignore[union-attr]


def test_parquet_without_a_needed_column_or_cut_off_is_refused_whole(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pa.table({"x": [1], "y": [2]}))
    with pytest.raises(BadInputError, match=r"a\.parquet: column id is missing; found: x, y$"):
        open_table(path, ("id",))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInputError, match=r"a\.parquet: no Parquet file, or cut off"):
        open_table(path, ("x",))
    twice = write_parquet(tmp_path / "b.parquet", pa.Table.from_arrays([pa.array([1])] * 2, ["id", "id"]))
    with pytest.raises(BadInputError, match="column id stands twice"):
        open_table(twice, ("id",))


def test_a_damaged_parquet_gives_the_rows_before_the_damage(tmp_path: Path) -> None:
    table = pa.table({"id": [f"{n * n * 7919 % 100_003}" for n in range(20_000)]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=5_000, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset + 200
    content[middle : middle + 2_000] = b"\xff" * 2_000
    path.write_bytes(content)
    opened = open_table(path, ("id",))
    rows: list[Any] = []
    with pytest.raises(BrokenFileError, match="the Parquet data is damaged") as broken:
        iter_into(opened, rows)
    opened.close()
    assert 4_096 <= len(rows) <= 10_000
    assert broken.value.line == len(rows) + 1


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet"])
def test_the_position_runs_from_the_beginning_to_the_size_of_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        write_parquet(path, pa.table({"id": list(range(10))}))
    else:
        lines = b"id\n" + b"1\n" * 400_000 if "csv" in name else b'{"id":1}\n' * 100_000
        path.write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    table = open_table(path, ("id",))
    begun = table.position
    assert table.size == path.stat().st_size
    assert sum(1 for _ in table) > 9
    assert 0 <= begun <= table.size
    assert table.position == table.size
    table.close()
