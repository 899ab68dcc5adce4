"""``report.md``: the report as GitHub-flavoured Markdown, with the numbers of the page."""

import re
from functools import cache

import jinja2

from study.report.document import Column, Document
from study.report.forms import check_document, list_tables
from study.report.text import NUMERIC, count_more, format_heading, read_table

#: Each of these begins markup somewhere: tables, emphasis, links, formulas, code.
_SPECIAL = re.compile(r"([\\`*\[\]|~$#])")
#: Underscores within words are plain text, as in ``learning_rate``.
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINE_START = re.compile(r"^(\s*)(?:([-+>=])|(\d+)([.)]))")


def render_markdown(document: Document) -> str:
    """The report; pictures are links to ``figures/NAME.png`` beside it.

    Raises:
        FormError: As for :func:`study.report.forms.check_document`.
    """
    check_document(document)
    template = _environment().get_template("report.md.j2")
    text = template.render(document=document, tables=list_tables(document))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape_markdown(text: str) -> str:
    """``text`` so that Markdown shows it: on one line, with nothing that Markdown, HTML or a formula would take."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _EDGE_UNDERSCORE.sub(r"\\_", _SPECIAL.sub(r"\\\1", line))
    return _LINE_START.sub(lambda match: f"{match[1]}{match[3] or ''}\\{match[2] or match[4]}", line)


def _escape_cell(text: str, column: Column) -> str:
    """Numbers with their intervals are no markup."""
    return text.replace("<", "&lt;").replace(">", "&gt;") if column.kind in NUMERIC else escape_markdown(text)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - not HTML; each text is escaped by the filter md
        loader=jinja2.PackageLoader("study.report.forms"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = escape_markdown
    environment.filters["cell"] = _escape_cell
    environment.filters["read"] = read_table
    environment.filters["heading"] = format_heading
    environment.filters["count_more"] = count_more
    environment.globals["numeric"] = NUMERIC
    return environment
