"""Tables as files: CSV, Parquet, LaTeX, Markdown."""

import math
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_document import make_document, make_table
from markdown_it import MarkdownIt

from study.report.document import Column, Document, Section, Table
from study.report.forms import FormError, list_figures, list_tables, walk
from study.report.forms.data import make_dictionary, make_frame, write_data
from study.report.forms.latex import escape_latex, render_latex
from study.report.forms.markdown import escape_markdown, render_markdown
from study.report.text import read_table

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    r"\input{/etc/passwd}",
    "`x`",
    "$1$",
    "![i](http://x)",
    "# h",
    "1. x",
    "_e_",
)
KINDS = {"text": pl.String, "integer": pl.Int64, "number": pl.Float64, "percent": pl.Float64, "p": pl.Float64}
COLUMNS = tuple(Column(kind, f"a {kind}", f"Holds {kind}.", kind) for kind in (*KINDS, "truth"))  # type: ignore[arg-type]
TYPES = {**KINDS, "truth": pl.Boolean}


def make_hostile_table() -> Table:
    columns = (Column("name", "name_1 & <b>", "What | it is.", "text"), Column("v", "v %", "A number.", unit="1/s"))
    return Table("hostile", "A <title> | % \n # two", columns, tuple((name, -0.5) for name in HOSTILE), "100% <note>")


@pytest.mark.parametrize("rows", [(), (("a", 1, 0.1, 0.5, 0.01, True), (None,) * 6, ("", 2**53 + 1, 3, 1, 0, False))])
def test_types_follow_from_kinds_also_without_rows(rows: tuple, tmp_path: Path) -> None:
    table = Table("t", "T", COLUMNS, rows)
    write_data(Document("D", sections=[Section("s", "S", tables=[table])]), tmp_path)
    frame = pl.read_parquet(tmp_path / "t.parquet")
    assert dict(frame.schema) == TYPES
    assert frame.rows() == [tuple(row) for row in rows]
    header = (tmp_path / "t.csv").read_text().splitlines()[0]
    assert header.split(",") == [column.name for column in COLUMNS]


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_floats_in_csv_read_back_as_the_same_floats(values: list[float]) -> None:
    frame = make_frame(Table("t", "T", (Column("v", "v", "m"),), tuple((value,) for value in values)))
    lines = frame.write_csv().splitlines()[1:]
    assert [math.copysign(1, float(line)) * abs(float(line)) for line in lines] == values
    assert [math.copysign(1, float(line)) for line in lines] == [math.copysign(1, value) for value in values]


def test_nan_is_no_number_and_settings_among_texts_keep_their_digits() -> None:
    columns = (Column("v", "v", "m"), Column("s", "s", "m", "text"))
    frame = make_frame(Table("t", "T", columns, ((math.nan, 0.1 + 0.2), (1.0, True), (2.0, "adam"))))
    assert frame.rows() == [(None, "0.30000000000000004"), (1.0, "true"), (2.0, "adam")]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", 1.5),
        ("integer", "1"),
        ("number", "x"),
        ("number", True),
        ("truth", 1),
        ("truth", "yes"),
        ("integer", 2**70),
    ],
)
def test_a_cell_of_another_kind_is_refused_by_name(kind: str, value: object) -> None:
    table = Table("t", "T", (Column("c", "c", "m", kind),), ((value,),))  # type: ignore[arg-type]
    with pytest.raises(FormError, match="column 'c' of table 't'"):
        make_frame(table)


def test_the_dictionary_has_every_column_of_every_file(tmp_path: Path) -> None:
    document = make_document()
    paths = write_data(document, tmp_path / "tables")
    assert sorted(paths) == sorted((tmp_path / "tables").iterdir())
    dictionary = pl.read_csv(tmp_path / "tables" / "columns.csv")
    assert pl.read_parquet(tmp_path / "tables" / "columns.parquet").equals(make_dictionary(list_tables(document)))
    for table in list_tables(document):
        written = pl.read_csv(tmp_path / "tables" / f"{table.name}.csv")
        assert written.columns == dictionary.filter(pl.col("table") == table.name)["column"].to_list()
        assert written.height == len(table.rows)
    assert make_dictionary([])["meaning"].dtype == pl.String


def test_no_table_takes_the_dictionarys_name(tmp_path: Path) -> None:
    table = Table("columns", "T", (Column("v", "v", "m"),), ())
    with pytest.raises(FormError, match="dictionary"):
        write_data(Document("D", sections=[Section("s", "S", tables=[table])]), tmp_path)


def check_latex(text: str) -> None:
    """See that nothing but what was written on purpose is a command, and that all pairs are closed."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    body = "\n".join(lines)
    assert body.count(r"\begin{tabular}") == body.count(r"\end{tabular}") == 1
    bare = re.sub(r"\\[{}]", "", body)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    commands = set(re.findall(r"\\([A-Za-z]+)", bare))
    assert commands <= {
        *("begin", "end", "toprule", "midrule", "bottomrule", "textbackslash", "textless", "textgreater", "textbar"),
        *("textasciigrave", "textasciitilde", "textasciicircum", "textquotedblright"),
    }
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    assert not re.search(r"(?<!\\)[#%]", body)
    assert body.isascii()


def test_latex_of_hostile_names_holds_no_command_of_theirs() -> None:
    text = render_latex(make_hostile_table())
    check_latex(text)
    assert r"\textbackslash{}input\{/etc/passwd\} & $-$0.5 \\" in text
    assert r"% \caption{A \textless{}title\textgreater{} \textbar{} \% \# two}" in text
    assert r"% \label{tab:hostile}" in text
    assert r"name\_1 \& \textless{}b\textgreater{} & v \% (1/s) \\" in text


@given(st.text(max_size=30))
def test_latex_of_any_text_is_balanced(text: str) -> None:
    escaped = escape_latex(text)
    assert "\n" not in escaped
    assert re.sub(r"\\[{}]", "", escaped).count("{") == re.sub(r"\\[{}]", "", escaped).count("}")
    assert not re.search(r"(?<!\\)[%#&_]", escaped.replace("$_{", ""))
    assert len(re.findall(r"(?<!\\)\$", escaped)) % 2 == 0


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("β₁", r"$\beta$$_{1}$"),
        ("ε", r"$\varepsilon$"),
        ("Ω x²", r"$\Omega$ x$^{2}$"),
        ("Α", "A"),  # noqa: RUF001 - a capital alpha
        ("a--b", "a-{}-b"),
        ("é", "é"),
        ("中", "[U+4E2D]"),
        ("±≤", r"$\pm$$\leq$"),
    ],
)
def test_latex_spells_what_it_has_no_letters_for(text: str, escaped: str) -> None:
    assert escape_latex(text) == escaped


def test_latex_has_the_rows_that_people_see_and_names_the_others() -> None:
    table = make_table("long", rows=60, longest=5)
    text = render_latex(table)
    assert text.count(r"\\") == 6
    assert "% 55 more rows in long.csv" in text
    assert r"\begin{tabular}{lrrrrr}" in text


def test_a_row_of_latex_never_begins_like_an_argument() -> None:
    columns = (Column("a", "[x]", "m", "text"),)
    assert "\n{[}3pt] \\\\" in render_latex(Table("t", "T", columns, (("[3pt]",), ("*",))))
    assert "\n{*} \\\\" in render_latex(Table("t", "T", columns, (("[3pt]",), ("*",))))


def parse_markdown(text: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


@given(st.text(max_size=40))
def test_markdown_of_any_text_shows_that_text(text: str) -> None:
    shown = "".join(character for character in " ".join(text.split()) if character.isprintable())
    html = parse_markdown(f"x {escape_markdown(text)}")
    plain = re.sub(r"<[^>]*>", "", html)
    for entity, character in {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}.items():
        plain = plain.replace(entity, character)
    assert " ".join(plain.split()) == " ".join(f"x {shown}".split())


@pytest.mark.parametrize(
    "text", [*HOSTILE, "- x", "+ x", "> x", "===", "1) x", "~~x~~", "---", "<!-- -->", "&lt;", "a\nb"]
)
def test_markdown_of_a_hostile_text_is_a_plain_paragraph(text: str) -> None:
    html = parse_markdown(escape_markdown(text))
    assert re.fullmatch(r"<p>[^<]*</p>\n", html), html


def test_markdown_tables_have_the_cells_of_the_page() -> None:
    document = Document("D", sections=[Section("s", "S", tables=[make_hostile_table(), make_table("plain")])])
    html = parse_markdown(render_markdown(document))
    found = re.findall(r"<t[hd](?: [^>]*)?>(.*?)</t[hd]>", html, re.DOTALL)
    wanted = [
        cell
        for table in list_tables(document)
        for row in (read_table(table).headings, *read_table(table).rows)
        for cell in row
    ]
    unescaped = [
        re.sub(r"&lt;", "<", cell).replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&") for cell in found
    ]
    assert unescaped == wanted
    assert "<script" not in html
    assert "<img" not in html


def test_every_link_of_the_markdown_leads_somewhere() -> None:
    document = make_document()
    text = render_markdown(document)
    targets = set(re.findall(r'<a id="([^"]*)">', text))
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= targets
    files = {f"figures/{figure.name}.png" for figure in list_figures(document)}
    files |= {f"tables/{table.name}.csv" for table in list_tables(document)}
    assert set(re.findall(r"\]\(([^#)][^)]*)\)", text)) <= files
    assert {section.id for _, section in walk(document.sections)} <= targets
    assert all(column.meaning in text for table in list_tables(document) for column in table.columns)
