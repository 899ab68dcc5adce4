"""The report as PDF."""

import functools
import io
import re

import matplotlib as mpl
import pytest
from made_document import make_document, make_map, make_table
from reportlab.platypus import Table as Grid

from study.report.document import Column, Document, Section, Table
from study.report.forms import FormError, list_figures
from study.report.forms.pdf import WIDTH, render_pdf
from study.report.forms.pdf_tables import lay_out_table
from study.report.forms.pictures import Picture, draw_picture
from study.report.measures.missing import Missing


@functools.cache
def one_picture() -> Picture:
    return draw_picture(make_map("m", 1))


def pictures_of(document: Document) -> dict[str, Picture]:
    return {figure.name: one_picture() for figure in list_figures(document)}


def test_equal_reports_are_equal_files() -> None:
    document = make_document(figures=3)
    assert render_pdf(document, pictures_of(document)) == render_pdf(document, pictures_of(document))


def test_the_file_says_title_author_language_and_outline() -> None:
    document = make_document(figures=2, title="Robust: β")
    pdf = render_pdf(document, pictures_of(document))
    assert pdf.startswith(b"%PDF-1.")
    assert b"/Lang (en)" in pdf
    assert b"/Author (adai-study)" in pdf
    assert b"\\003\\262" in pdf  # the beta of the title, as UTF-16
    outline = re.findall(rb"/Title \(([^)]*)\)", pdf)
    for title in (b"Cautions", b"Findings", b"How robust is each optimizer?", b"Part 2: test error", b"Detail"):
        assert title in outline
    assert b"DejaVuSans" in pdf
    assert len(re.findall(rb"/Type /Page\b", pdf)) == len(re.findall(rb"/Contents", pdf)) > 3


def grids_of(table: Table) -> list[Grid]:
    return [part for part in lay_out_table(table, WIDTH) if isinstance(part, Grid)]


def test_tables_fit_the_paper_and_wide_ones_repeat_what_a_row_is() -> None:
    render_pdf(Document("fonts"), {})
    for numbers in (1, 4, 8, 12, 30):
        table = make_table("wide", numbers=numbers, rows=12)
        grids = grids_of(table)
        assert all(sum(grid._colWidths) <= WIDTH + 1e-6 for grid in grids)
        assert all([row[0] for row in grid._cellvalues[1:]][:3] == ["SGD", "SGDM", "Adam"] for grid in grids)
        # Every shown column once, beside the first one.
        assert sum(len(grid._colWidths) - 1 for grid in grids) == sum(column.shown for column in table.columns) - 1
        assert (len(grids) == 1) == (numbers <= 4 or len(grids) == 1)
    assert len(grids) > 2


def test_no_cell_of_numbers_is_wider_than_its_column() -> None:
    render_pdf(Document("fonts"), {})
    for grid in grids_of(make_table("wide", numbers=30, rows=12)):
        assert all(isinstance(cell, str) for row in grid._cellvalues[1:] for cell in row)


@pytest.mark.parametrize("length", [300, 20_000])
def test_long_texts_wrap_and_never_stop_a_report(length: int) -> None:
    columns = (Column("a", "a" * 400, "m", "text"), Column("b", "b", "m", "text"))
    texts = ("word " * (length // 5), "x" * length)
    table = Table("t", "T " * 50, columns, (texts, texts), "note " * 100)
    section = Section("s", "S" * 300, ["p" * 3000], [table], missing=[Missing("m" * 300, "r" * 3000)])
    assert render_pdf(Document("T" * 500, ["l" * 5000], sections=[section]), {}).startswith(b"%PDF")


def test_hostile_names_are_text() -> None:
    evil = '<b>&amp;<font color="red"><img src="/etc/passwd"/><a href="http://x">x</a>'
    columns = (Column("a", evil, evil, "text"),)
    section = Section(
        "s", evil, [evil], [Table("t", evil, columns, ((evil * 20,),), evil)], missing=[Missing(evil, evil)]
    )
    pdf = render_pdf(Document(evil, [evil], [evil], [evil], [section], [evil]), {})
    assert b"/URI" not in pdf
    assert b"/Image" not in pdf.replace(b"/ImageB", b"").replace(b"/ImageC", b"").replace(b"/ImageI", b"")


def test_high_and_wide_pictures_fit_the_page() -> None:
    figure = make_map("m", 1, panels=1)
    for shape in ((3000, 100), (100, 3000), (40, 40)):
        buffer = io.BytesIO()
        canvas = mpl.figure.Figure(figsize=(shape[0] / 200, shape[1] / 200))
        canvas.savefig(buffer, dpi=200, format="png")
        picture = Picture(b"", buffer.getvalue(), b"")
        document = Document("D", sections=[Section("s", "S", figures=[figure])])
        assert render_pdf(document, {"m": picture}).startswith(b"%PDF")


def test_a_figure_without_a_picture_is_named() -> None:
    document = Document("D", sections=[Section("s", "S", figures=[make_map("m", 1)])])
    with pytest.raises(FormError, match="figure 'm' has no picture"):
        render_pdf(document, {})


def test_a_report_of_forty_equal_figures_is_small() -> None:
    document = make_document(figures=40)
    pdf = render_pdf(document, pictures_of(document))
    assert pdf.count(b"/Subtype /Image") == 1  # equal pictures are one
    assert len(pdf) < 1_000_000
