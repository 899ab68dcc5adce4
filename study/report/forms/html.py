"""``report.html``: one page that needs nothing else, not even a network."""

from collections.abc import Mapping
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from study.report.document import Document, Figure
from study.report.forms import FormError, check_document
from study.report.forms.pictures import Picture
from study.report.forms.svg import inline_svg
from study.report.text import NUMERIC, count_more, format_heading, read_table, split_interval

#: The page may load nothing at all; what it has is written in it.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

#: Tables with more rows are folded: their title says how many.
_FOLD_FROM = 24


def render_html(document: Document, pictures: Mapping[str, Picture]) -> str:
    """The page.

    Links lead to ``tables/NAME.csv`` and its like, and to ``figures/NAME.png`` and its like, beside the page.

    Args:
        document: What it says.
        pictures: Name of a figure -> picture, for every figure.

    Raises:
        FormError: As for :func:`study.report.forms.check_document`; or a figure has no picture, or a point no mark.
    """
    check_document(document)

    def draw(figure: Figure) -> Markup:
        if figure.name not in pictures:
            raise FormError(f"figure {figure.name!r} has no picture")
        picture = pictures[figure.name]
        svg = inline_svg(
            picture.svg, name=f"figure-{figure.name}", title=figure.title, alt=figure.alt, hovers=picture.hovers
        )
        return Markup(svg)  # noqa: S704 - inline_svg escapes what it writes

    template = _environment().get_template("report.html.j2")
    return template.render(document=document, draw=draw, policy=CONTENT_SECURITY_POLICY)


def _break_before_interval(cell: str) -> Markup | str:
    """A number whose interval may stand below it, where the table is wide."""
    parts = split_interval(cell)
    return cell if parts is None else Markup('<span class="p">{}</span> <span class="p">{}</span>').format(*parts)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("study.report.forms"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["read"] = read_table
    environment.filters["heading"] = format_heading
    environment.filters["parts"] = _break_before_interval
    environment.filters["count_more"] = count_more
    environment.globals["style"] = _own_text("style.css")
    environment.globals["script"] = _own_text("page.js")
    environment.globals["numeric"] = NUMERIC
    environment.globals["fold_from"] = _FOLD_FROM
    return environment


def _own_text(name: str) -> Markup:
    """A file of this package, as it is."""
    text = resources.files("study.report.forms").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - it is ours
