"""The ledger's table of a pack is read as a CSV reader reads it, also where cells are quoted or the lines are damaged."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verification.evidence import stored, tables

CELLS = st.one_of(
    st.integers(-5, 10**12).map(str), st.sampled_from(["", "a,b", 'say "x"', "一", "a b", "\r"])
)
MANY = len(tables.LEDGER_COLUMNS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=MANY - 2, max_size=MANY - 2), max_size=5),
    st.integers(0, 60),
    st.sampled_from(["", ",", "\r", "\n", '"', "\r\n", "x"]),
)
def test_a_table_is_read_as_a_csv_reader_reads_it(rows: list[list[str]], place: int, damage: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(["m", "energy_import_total", *row] for row in rows)
    text = file.getvalue()
    text = text[:place] + damage + text[place:]
    lines = [line + "\n" for line in text.split("\n") if line]
    try:
        whole = list(csv.reader(lines))
    except csv.Error:
        whole = [[]]
    if any(len(row) != MANY for row in whole):
        with pytest.raises(ValueError, match=r"."):
            stored._cells(lines)
    else:
        assert stored._cells(lines) == [tuple(row[column] for row in whole) for column in range(MANY)]


def test_totals_come_in_their_order_and_only_those_that_are_asked_for() -> None:
    row = ["0", "900000", "0", "1", "5", "6", "7", "f", "900000", "1", "0", "1"]
    rows = [[meter, kind, *row] for meter in ("a", "b") for kind in ("x", "y", "y")]
    chunks = list(tables.csv_chunks(tables.LEDGER_COLUMNS, rows))
    found = list(stored.read_stored(iter(chunks), lambda meter: meter == "b"))
    assert [(key, len(of)) for key, of in found] == [(("b", "x"), 1), (("b", "y"), 2)]
    assert found[0][1].factors == ("f",)
    with pytest.raises(ValueError, match="columns"):
        list(stored.read_stored([b"a,b\r\n"]))
