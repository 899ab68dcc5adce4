"""Pictures inside a page: small SVG without boilerplate, whose points say their exact numbers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from xml.etree.ElementTree import Element, SubElement, fromstring

from study.report.forms import FormError
from study.report.forms.pictures import Hover

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_XML = "{http://www.w3.org/XML/1998/namespace}"
#: Points (1/72 inch) between where a point should be and where its mark is.
_NEAR = 0.02
#: Properties that children inherit, and that may stand as attributes.
_INHERITED = frozenset(
    {
        *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap", "stroke-linejoin"),
        *("stroke-dasharray", "stroke-dashoffset", "stroke-miterlimit", "font-size", "font-style", "font-weight"),
        "text-anchor",
    }
)
_AS_ATTRIBUTES = _INHERITED | {"opacity", "font-family", "clip-path"}
_LENGTHS = frozenset({"x", "y", "width", "height", "x1", "x2", "y1", "y2", "cx", "cy", "r", "points", "d"})
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"


def inline_svg(svg: bytes, *, name: str, title: str, alt: str, hovers: Mapping[str, Sequence[Hover]]) -> str:
    """A picture of matplotlib's as a part of an HTML page.

    Args:
        svg: The file.
        name: Of the figure: its ids begin so, and are unique in the page.
        title: What it shows.
        alt: What a reader who does not see it must know.
        hovers: Group id of a scatter -> its points. Each becomes the ``<title>`` of the mark that lies at its place.

    Raises:
        FormError: A point has no mark at its place: texts would stand at other points.
    """
    root = fromstring(svg)  # noqa: S314 - matplotlib made it in this program
    labelled = sum(_label_marks(root, name, group, points) for group, points in hovers.items())
    for unused in [*root.findall(f"{_SVG}metadata"), *root.findall(f"{_SVG}defs[{_SVG}style]")]:
        root.remove(unused)
    _rename_ids(root, f"{name}_")
    for element in root.iter():
        _tidy_attributes(element)
    _tidy_children(root)
    width = float(root.attrib["viewBox"].split()[2])
    attributes = {
        "viewBox": _shorten_path(root.attrib["viewBox"]),
        "role": "img",
        "aria-labelledby": f"{name}_title",
        "aria-describedby": f"{name}_desc",
        # On narrow screens a wide picture is moved, not shrunk until nobody can read it.
        "style": f"max-width:{width * 1.5:.0f}px;min-width:{min(width, 640):.0f}px",
        # What matplotlib says in a style sheet, which would reach the whole page.
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        **({"data-points": str(labelled)} if labelled else {}),
    }
    said = f'<title id="{name}_title">{escape(title)}</title><desc id="{name}_desc">{escape(alt)}</desc>'
    return f"<svg{_write_attributes(attributes)}>{said}{''.join(map(_write, root))}</svg>"


def _label_marks(root: Element, name: str, group: str, points: Sequence[Hover]) -> int:
    """Give each point's text to its mark; how many have one."""
    found = next((element for element in root.iter(f"{_SVG}g") if element.get("id") == group), None)
    if found is None:
        raise FormError(f"figure {name!r} has no points {group!r}")
    marks = list(_marks(found))
    if all(mark.tag == f"{_SVG}path" for mark in marks):
        # Sizes that all differ: matplotlib writes each mark as a path of its own, one for every point.
        if len(marks) != len(points):
            raise FormError(f"figure {name!r} has {len(marks)} marks for the {len(points)} points of {group!r}")
        pairs = list(zip(marks, points, strict=True))
    else:
        width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
        inside = [point for point in points if 0 <= point.x <= width and 0 <= point.y <= height]
        pairs = list(_pair(marks, inside, f"figure {name!r} has no mark of {group!r}"))
    for mark, point in pairs:
        SubElement(mark, f"{_SVG}title").text = point.text
    found.set("class", "points")
    return len(pairs)


def _marks(element: Element) -> Iterator[Element]:
    """What is drawn in a group, in order."""
    for child in element:
        if child.tag in (f"{_SVG}use", f"{_SVG}path"):
            yield child
        elif child.tag != f"{_SVG}defs":
            yield from _marks(child)


def _pair(marks: Iterable[Element], points: Iterable[Hover], problem: str) -> Iterator[tuple[Element, Hover]]:
    """Marks and points in the same order; marks that are no point are where matplotlib clips what lies outside."""
    rest = iter(marks)
    for point in points:
        for mark in rest:
            dx, dy = float(mark.get("x", "nan")) - point.x, float(mark.get("y", "nan")) - point.y
            if abs(dx) < _NEAR and abs(dy) < _NEAR:
                yield mark, point
                break
        else:
            raise FormError(f"{problem} at {point.x:.2f}, {point.y:.2f}, where {point.text!r:.80} should be")


def _rename_ids(root: Element, prefix: str) -> None:
    """Short ids that are unique in the page, and only those that something refers to."""
    used = [value for element in root.iter() for value in element.attrib.values()]
    wanted = dict.fromkeys(
        target for value in used for target in [*_REFERENCE.findall(value), *([value[1:]] if value[:1] == "#" else [])]
    )
    short = {target: f"{prefix}{_count(number)}" for number, target in enumerate(wanted)}
    seen: set[str] = set()
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own.startswith("QuadMesh"):
            element.set("shape-rendering", "crispEdges")  # or seams would show between the cells of a map
        if own in short and own not in seen:
            seen.add(own)
            element.set("id", short[own])
        target = element.attrib.pop(_XLINK, "")
        if target[1:] in short and target.startswith("#"):
            element.set("href", f"#{short[target[1:]]}")
        elif target.startswith("data:image/"):
            element.set("href", target)
        for key, value in element.attrib.items():
            if "url(#" in value:
                element.set(key, _REFERENCE.sub(lambda match: f"url(#{short[match[1]]})", value))


def _count(number: int) -> str:
    """``a``, ``b``, ... ``ba``, ..."""
    text = _DIGITS[number % len(_DIGITS)]
    return text if number < len(_DIGITS) else _count(number // len(_DIGITS)) + text


def _tidy_attributes(element: Element) -> None:
    """Styles as attributes, which are shorter; numbers with two decimals; nothing that says what is so anyway."""
    rest = []
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key in _AS_ATTRIBUTES and "DejaVu Sans'" not in value:  # the page sets that font for all pictures
            element.set(key, value.removesuffix("px") if key == "font-size" else value)
        elif key and key != "font-family":
            rest.append(f"{key}:{_own_font(value)}")
    if rest:
        element.set("style", ";".join(rest))
    for key in _LENGTHS & element.attrib.keys():
        element.set(key, _shorten_path(element.attrib[key]))
    turned = re.sub(r"rotate\(-?0 [^)]*\)", "", element.attrib.pop("transform", "")).strip()
    if turned:
        element.set("transform", re.sub(r"(translate|rotate)\([^)]*\)", _shorten_match, turned))


def _own_font(value: str) -> str:
    """The font shorthand without matplotlib's long list of families."""
    return re.sub(r"'DejaVu Sans'.*", "DejaVu Sans,Verdana,sans-serif", value)


def _shorten_number(match: re.Match[str]) -> str:
    text = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _shorten_match(match: re.Match[str]) -> str:
    return _NUMBER.sub(_shorten_number, match[0])


def _shorten_path(value: str) -> str:
    """Numbers with two decimals, and no spaces beside letters."""
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", _NUMBER.sub(_shorten_number, " ".join(value.split())))


def _tidy_children(element: Element) -> None:
    """Groups that say nothing give way to their children; neighbours with one clipping become one group."""
    children: list[Element] = []
    for child in element:
        _tidy_children(child)
        child.text = child.text if child.text and child.text.strip() else None
        child.tail = child.tail if child.tail and child.tail.strip() else None
        if child.tag == f"{_SVG}g" and not child.attrib:
            children.extend(child)
        elif children and _are_alike(children[-1], child):
            children[-1].extend(child)
        elif child.tag not in (f"{_SVG}g", f"{_SVG}defs") or len(child):
            children.append(child)
    element[:] = children
    for child in children:
        if child.tag == f"{_SVG}g":
            _hoist(child)


def _are_alike(before: Element, after: Element) -> bool:
    return before.tag == after.tag == f"{_SVG}g" and before.attrib == after.attrib and "transform" not in after.attrib


def _hoist(group: Element) -> None:
    """What all children say alike, and inherit, their group says once."""
    drawn = [child for child in group if child.tag != f"{_SVG}defs"]
    if len(drawn) < 3:
        return
    for key in sorted(_INHERITED & drawn[0].attrib.keys() - group.attrib.keys()):
        if len({child.get(key) for child in drawn}) == 1:
            group.set(key, drawn[0].attrib[key])
            for child in drawn:
                del child.attrib[key]


def _write(element: Element) -> str:
    """As HTML has it: without namespaces."""
    tag = element.tag.removeprefix(_SVG)
    inside = escape(element.text or "", quote=False) + "".join(map(_write, element))
    tail = escape(element.tail or "", quote=False)
    opening = f"<{tag}{_write_attributes(element.attrib)}"
    return f"{opening}>{inside}</{tag}>{tail}" if inside else f"{opening}/>{tail}"


def _write_attributes(attributes: Mapping[str, str]) -> str:
    return "".join(f' {key.replace(_XML, "xml:")}="{escape(value)}"' for key, value in attributes.items())
