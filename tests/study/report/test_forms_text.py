"""How numbers are written for people."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.report.document import CellValue, Column, Document, Section, Table
from study.report.forms import FormError, check_document
from study.report.text import format_cell, format_heading, format_number, format_p, format_percent, read_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.99999, "0.99999"),
        (1.00001, "1.00001"),
        (0.123456, "0.1235"),
        (-0.5, "−0.5"),  # noqa: RUF001 - a minus sign
        (12345.6, "12346"),
        (9.99996, "10.00"),
        (0.05, "0.05"),
        (0.3000001, "0.3000"),
        (999999.7, "1.000e6"),
        (1234567.0, "1.235e6"),
        (0.0001234, "0.0001234"),
        (0.00001234, "1.234e−5"),  # noqa: RUF001
        (5e-324, "4.941e−324"),  # noqa: RUF001
        (math.inf, "∞"),
    ],
)
def test_numbers_have_four_digits_that_count(value: float, text: str) -> None:
    assert format_number(value) == text


@given(st.floats(-1e308, 1e308))
def test_a_written_number_is_within_half_a_unit_of_its_fourth_digit(value: float) -> None:
    read = float(format_number(value).replace("−", "-"))  # noqa: RUF001
    assert read == pytest.approx(value, rel=5.0001e-4, abs=1e-323)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.5, "50.0%"),
        (0.00004, "0.004%"),
        (1e-9, "< 0.001%"),
        (0.9996, "99.96%"),
        (1 - 1e-9, "> 99.999%"),
        (0.1234, "12.3%"),
        (-0.25, "−25.0%"),  # noqa: RUF001
        (1.5, "150.0%"),
    ],
)
def test_a_share_reads_as_none_or_all_only_if_it_is(share: float, text: str) -> None:
    assert format_percent(share) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.0344, "0.034"), (0.9999, "> 0.999"), (1.0, "1.000")]
)
def test_p_values_have_bounds_at_their_ends(p: float, text: str) -> None:
    assert format_p(p) == text


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("text", "a|b", "a|b"),
        ("text", 0.99999, "0.99999"),
        ("text", True, "true"),
        ("truth", True, "yes"),
        ("truth", False, "no"),
        ("integer", 1234567, "1234567"),
        ("integer", -3, "−3"),  # noqa: RUF001
        ("number", None, "-"),
        ("number", math.nan, "-"),
        ("number", 3, "3"),
        ("number", np.float64(0.25), "0.25"),
    ],
)
def test_cells_are_written_as_their_column_asks(kind: str, value: CellValue, text: str) -> None:
    assert format_cell(Column("c", "c", "m", kind), value) == text  # type: ignore[arg-type]


def test_an_interval_stands_in_the_cell_of_its_number_and_missing_ends_are_said() -> None:
    columns = (
        Column("high", "high", "m", "percent", shown=False),
        Column("v", "value", "m", "percent", "of points", low="low", high="high"),
        Column("low", "low", "m", "percent", shown=False),
    )
    rows = ((0.6, 0.5, 0.4), (None, 0.5, None), (0.6, None, 0.4), (0.6, 0.5, None))
    reading = read_table(Table("t", "t", columns, rows))
    assert [row[0] for row in reading.rows] == ["50.0% [40.0%, 60.0%]", "50.0%", "-", "50.0% [-, 60.0%]"]
    assert reading.headings == ("value (of points)",)
    assert format_heading(columns[0]) == "high"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.3864123, 0.1786, 0.6176), "0.39 [0.18, 0.62]"),
        ((1.5312, 0.00275, 3.0604), "1.531 [0.003, 3.060]"),
        ((0.0149, 0.000452, 0.0293), "0.0149 [0.0005, 0.0293]"),
        ((0.0, 0.0, 0.25), "0 [0, 0.25]"),
        ((12.3456, -3.2, 27.9), "12 [−3, 28]"),  # noqa: RUF001
        ((0.5, 0.5, 0.5), "0.5 [0.5, 0.5]"),
        ((1e-7, 1e-8, 2e-7), "1.000e−7 [1.000e−8, 2.000e−7]"),  # noqa: RUF001
        ((123456.7, 100000.0, 150000.0), "123457 [100000, 150000]"),
        ((0.25, None, 0.3), "0.25 [-, 0.3]"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_leaves_meaning_to(
    numbers: tuple[float | None, ...], text: str
) -> None:
    columns = (Column("v", "v", "m", low="l", high="h"), Column("l", "l", "m"), Column("h", "h", "m"))
    assert read_table(Table("t", "t", columns, (numbers,))).rows[0][0] == text


@given(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3))
def test_what_is_not_zero_does_not_read_as_zero_beside_its_interval(numbers: list[float]) -> None:
    low, value, high = sorted(numbers)
    columns = (Column("v", "v", "m", low="l", high="h"), Column("l", "l", "m"), Column("h", "h", "m"))
    text = read_table(Table("t", "t", columns, ((value, low, high),))).rows[0][0]
    read = [float(part.strip("[],").replace("−", "-")) for part in text.split()]  # noqa: RUF001
    for written, number in zip(read, (value, low, high), strict=True):
        assert written != 0 or abs(number) < 1e-4


def test_rows_beyond_the_longest_are_counted() -> None:
    reading = read_table(Table("t", "t", (Column("a", "a", "m", "integer"),), ((1,), (2,), (3,)), longest=1))
    assert (reading.rows, reading.more) == ((("1",),), 2)


_A = Column("a", "a", "m", "integer")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ([Section("s", "S"), Section("S", "S")], "several sections"),
        ([Section("../s", "S")], "cannot name a file"),
        ([Section("s", "S", tables=[Table("a\n", "T", (_A,), ())])], "cannot name a file"),
        ([Section("s", "S", tables=[Table("t", "T", (_A,), ((1, 2),))])], "2 cells for 1 columns"),
        ([Section("s", "S", tables=[Table("t", "T", (_A, _A), ())])], "two columns of one name"),
        ([Section("s", "S", tables=[Table("t", "T", (Column("b", "b", "m", low="c"),), ())])], "the end 'c'"),
        ([Section("s", "S", tables=[Table("t", "T", (Column("b", "b", "m", shown=False),), ())])], "no column that"),
        (
            [Section("s", "S", sections=[Section("p", "P", tables=[Table("t", "T", (_A,), ())] * 2)])],
            "several tables 't'",
        ),
    ],
)
def test_a_document_that_cannot_be_written_says_why(sections: list[Section], said: str) -> None:
    with pytest.raises(FormError, match=said):
        check_document(Document("T", sections=sections))
