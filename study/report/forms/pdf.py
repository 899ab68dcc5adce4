"""``report.pdf``: the report on paper, with bookmarks, made without system libraries."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import PIL.Image
from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
)

from study.report.document import Document, Figure, Section
from study.report.forms import FormError, check_document
from study.report.forms.pdf_tables import lay_out_table
from study.report.forms.pictures import Picture

_MARGIN = 17 * mm
WIDTH = A4[0] - 2 * _MARGIN
_HEIGHT = A4[1] - 2 * _MARGIN - 6 * mm
#: No picture is higher: its caption must fit below.
_HIGHEST = 0.78 * _HEIGHT
_QUIET = HexColor("#525c67")


@dataclass(frozen=True, slots=True)
class _Bookmark:
    """What the outline says of a heading."""

    key: str
    title: str
    level: int


class _Heading(Paragraph):
    """A heading that stands in the outline."""

    def __init__(self, text: str, style: ParagraphStyle, bookmark: _Bookmark) -> None:
        super().__init__(escape(text), style)
        self._bookmark = bookmark

    def draw(self) -> None:
        """The heading, and its place in the outline."""
        canvas: Any = self.canv
        canvas.bookmarkPage(self._bookmark.key)
        canvas.addOutlineEntry(self._bookmark.title, self._bookmark.key, self._bookmark.level, closed=False)
        super().draw()


def render_pdf(document: Document, pictures: Mapping[str, Picture]) -> bytes:
    """The report as PDF; equal documents and pictures give equal files.

    Args:
        document: What it says.
        pictures: Name of a figure -> picture, for every figure.

    Raises:
        FormError: As for :func:`study.report.forms.check_document`; or a figure has no picture.
    """
    check_document(document)
    _register_fonts()
    buffer = io.BytesIO()
    template = BaseDocTemplate(
        buffer,
        pagesize=A4,
        invariant=1,  # neither dates nor random ids
        title=document.title,
        author="adai-study",
        subject="; ".join(document.lead[:1]),
        lang="en",
        pageCompression=1,
    )
    frame = Frame(_MARGIN, _MARGIN + 6 * mm, WIDTH, _HEIGHT, 0, 0, 0, 0)

    def number_page(canvas: Canvas, _: object) -> None:
        canvas.setFont("DejaVuSans", 7)
        canvas.setFillColor(_QUIET)
        canvas.drawString(_MARGIN, _MARGIN, _cut(document.title, 110))
        canvas.drawRightString(A4[0] - _MARGIN, _MARGIN, f"page {canvas.getPageNumber()}")

    template.addPageTemplates(PageTemplate("page", frames=[frame], onPage=number_page))
    with _without_text_encoding():
        template.build(list(_tell_document(document, pictures)))
    return buffer.getvalue()


@contextmanager
def _without_text_encoding() -> Iterator[None]:
    """Reportlab writes streams as text unless told otherwise, a quarter larger."""
    before = rl_config.useA85
    rl_config.useA85 = 0
    try:
        yield
    finally:
        rl_config.useA85 = before


@cache
def _register_fonts() -> None:
    """DejaVu Sans, which matplotlib brings: it has Greek letters and mathematical signs."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    names = {"normal": "DejaVuSans", "bold": "DejaVuSans-Bold", "italic": "DejaVuSans-Oblique"}
    for name in names.values():
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily("DejaVuSans", **names, boldItalic=names["bold"])


def _style(size: float, **changes: Any) -> ParagraphStyle:
    looks: dict[str, Any] = {"fontName": "DejaVuSans", "fontSize": size, "leading": 1.4 * size, "splitLongWords": 1}
    return ParagraphStyle("", **(looks | changes))


_TITLE = _style(19, fontName="DejaVuSans-Bold", spaceAfter=8)
_BODY = _style(8.5, spaceAfter=4)
_LEAD = _style(8.5, spaceAfter=4, textColor=_QUIET)
_SMALL = _style(7, spaceAfter=3, textColor=_QUIET)
_CAPTION = _style(7.5, spaceBefore=3, spaceAfter=2)
_ITEM = _style(8.5, leftIndent=10, bulletIndent=2, spaceAfter=2)
_CAUTION = _style(
    8.5,
    leftIndent=10,
    bulletIndent=2,
    backColor=HexColor("#fff4e0"),
    textColor=HexColor("#5c3600"),
    borderPadding=(1.5, 3, 1.5, 3),
    spaceAfter=4,
)
_HEADINGS = tuple(
    _style(size, fontName="DejaVuSans-Bold", spaceBefore=size, spaceAfter=size / 3, keepWithNext=1)
    for size in (14, 11, 9.5)
)


def _tell_document(document: Document, pictures: Mapping[str, Picture]) -> Iterator[Flowable]:
    yield _Heading(document.title, _TITLE, _Bookmark("page-title", document.title, 0))
    yield from _paragraphs(document.lead, _LEAD)
    for key, title, texts, style in (
        ("page-cautions", "Cautions", document.warnings, _CAUTION),
        ("page-findings", "Findings", document.summary, _ITEM),
    ):
        if texts:
            yield _Heading(title, _HEADINGS[0], _Bookmark(key, title, 0))
            yield from (Paragraph(escape(text), style, bulletText="•") for text in texts)
    for section in document.sections:
        yield from _tell_section(section, 0, pictures)
    if document.footer:
        yield Spacer(0, 14)
        yield from _paragraphs(document.footer, _SMALL)


def _tell_section(section: Section, depth: int, pictures: Mapping[str, Picture]) -> Iterator[Flowable]:
    yield CondPageBreak(35 * mm)
    looks = _HEADINGS[min(depth, len(_HEADINGS) - 1)]
    yield _Heading(section.title, looks, _Bookmark(section.id, section.title, depth))
    yield from _paragraphs(section.paragraphs, _BODY)
    for figure in section.figures:
        yield _place_figure(figure, pictures)
    for table in section.tables:
        yield from lay_out_table(table, WIDTH)
    for part in section.sections:
        yield from _tell_section(part, depth + 1, pictures)
    if section.missing:
        of = f" of “{escape(section.title)}”" if section.sections else ""
        yield Paragraph(f"Not computed{of}:", _style(8.5, fontName="DejaVuSans-Bold", spaceBefore=4, keepWithNext=1))
        for missing in section.missing:
            yield Paragraph(f"<b>{escape(missing.measure)}</b>: {escape(missing.reason)}", _ITEM, bulletText="•")


def _paragraphs(texts: Sequence[str], style: ParagraphStyle) -> Iterator[Flowable]:
    return (Paragraph(escape(text), style) for text in texts)


def _place_figure(figure: Figure, pictures: Mapping[str, Picture]) -> Flowable:
    """The picture at its size, smaller where it is too wide or too high, with its caption on the same page."""
    if figure.name not in pictures:
        raise FormError(f"figure {figure.name!r} has no picture")
    # Without the channel of transparency, which would be a second picture.
    opaque = io.BytesIO()
    PIL.Image.open(io.BytesIO(pictures[figure.name].png)).convert("RGB").save(opaque, "BMP")
    image = Image(opaque)
    dots_to_points = 72 / 200
    scale = min(dots_to_points, WIDTH / image.imageWidth, _HIGHEST / image.imageHeight)
    image.drawWidth, image.drawHeight = scale * image.imageWidth, scale * image.imageHeight
    caption = Paragraph(f"<b>{escape(figure.title)}.</b> {escape(figure.caption)}", _CAPTION)
    return KeepTogether([Spacer(0, 6), image, caption, Spacer(0, 6)])


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
