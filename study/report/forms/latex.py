"""``tables/NAME.tex``: tables as papers want them, with booktabs."""

import re
import unicodedata

from study.report.document import Table
from study.report.text import NUMERIC, count_more, read_table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "`": r"\textasciigrave{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{INFINITY}": r"$\infty$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{NOT EQUAL TO}": r"$\neq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{ELEMENT OF}": r"$\in$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{SQUARE ROOT}": r"$\surd$",
    "\N{N-ARY SUMMATION}": r"$\sum$",
    "\N{PARTIAL DIFFERENTIAL}": r"$\partial$",
    "\N{NABLA}": r"$\nabla$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{DEGREE SIGN}": r"$^{\circ}$",
}
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (FINAL SIGMA|[A-Z]+)")
#: Capitals that look like Latin letters have no command of their own.
_LATIN = dict(
    zip(
        ("ALPHA", "BETA", "EPSILON", "ZETA", "ETA", "IOTA", "KAPPA", "MU", "NU", "OMICRON", "RHO", "TAU", "CHI"),
        "ABEZHIKMNOPTX",
        strict=True,
    )
)
#: Letters and accents that every font encoding of LaTeX has.
_LETTERS = frozenset("ßæøåœłıÆØÅŒŁ§¶£©")
_ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")


def render_latex(table: Table) -> str:
    """A ``tabular`` of what people see of ``table``; it needs the package booktabs.

    Caption and label are comments, for the ``table`` around it. Texts are escaped, whatever they hold, and every
    character is one that plain LaTeX knows.
    """
    reading = read_table(table)
    comment = [
        f"\\caption{{{escape_latex(table.title)}}}",
        f"\\label{{tab:{table.name}}}",
        *([f"note: {escape_latex(table.note)}"] if table.note else []),
        *([f"{count_more(reading.more)} in {table.name}.csv"] if reading.more else []),
    ]
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% {line}" for line in comment),
        "\\begin{tabular}{" + "".join("r" if column.kind in NUMERIC else "l" for column in reading.columns) + "}",
        "\\toprule",
        _write_row(reading.headings),
        "\\midrule",
        *(_write_row(row) for row in reading.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _write_row(cells: tuple[str, ...]) -> str:
    return " & ".join(_escape_cell(cell) for cell in cells) + " \\\\"


def _escape_cell(text: str) -> str:
    """At the start of a row a bracket or a star would be an argument of the line break, so it stands in braces."""
    escaped = escape_latex(text)
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


def escape_latex(text: str) -> str:
    """``text`` as LaTeX shows it: on one line; hyphens, quotes and signs as they are."""
    line = " ".join(text.split())
    # Two hyphens or quotes in a row would become one sign.
    return "".join(
        _escape_character(character) + ("{}" if character in "-'," and after == character else "")
        for character, after in zip(line, f"{line[1:]} ", strict=False)
    )


def _escape_character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii():
        return character if character.isprintable() else ""
    greek = _GREEK.fullmatch(unicodedata.name(character, ""))
    if greek:
        return _spell_greek(greek[2], capital=greek[1] == "CAPITAL")
    parts = unicodedata.normalize("NFKD", character)
    if character in _LETTERS or ("\u00c0" <= character <= "\u017f" and parts[1:] in _ACCENTS):
        return character  # LaTeX has read UTF-8 since 2018
    plain = "".join(part for part in parts if part != character and not unicodedata.combining(part))
    shown = "".join(map(_escape_character, plain)) or f"[U+{ord(character):04X}]"
    place = {"<sub>": "_", "<super>": "^"}.get(unicodedata.decomposition(character).partition(" ")[0])
    return f"${place}{{{shown}}}$" if place and shown.isalnum() else shown


def _spell_greek(name: str, *, capital: bool) -> str:
    if (capital and name in _LATIN) or name == "OMICRON":
        return _LATIN[name] if capital else "o"
    command = {"LAMDA": "lambda", "FINAL SIGMA": "varsigma", "EPSILON": "varepsilon"}.get(name, name.lower())
    return f"$\\{command.capitalize() if capital else command}$"
