"""Sections, what could not be computed: a reason each, with everything that it holds for."""

from collections.abc import Sequence
from dataclasses import replace

from study.report.document import Section
from study.report.measures.missing import Missing

#: Of one measure, as many optimizers or pairs are listed; further ones are counted.
_LISTED = 4


def gather_absences(sections: Sequence[Section]) -> tuple[Section, ...]:
    """The sections without those that have nothing but what could not be computed: a last one has all of these."""
    lifted = [_lift(section) for section in sections]
    empty = [section for section in lifted if not _says_anything(section)]
    kept = [replace(section, missing=group_missing(section.missing)) for section in lifted if _says_anything(section)]
    missing = group_missing([one for section in empty for one in section.missing])
    if not missing:
        return tuple(kept)
    reasons = ("This study has not what these need. Each entry says what would make it possible.",)
    return (*kept, Section("not-computed", "What this study cannot say", reasons, missing=missing))


def _lift(section: Section) -> Section:
    """What parts that have nothing else miss is said by the whole; explanations of nothing are left out."""
    parts = [_lift(part) for part in section.sections]
    missing = [one for part in parts if not _says_anything(part) for one in part.missing]
    kept = [replace(part, missing=group_missing(part.missing)) for part in parts if _says_anything(part)]
    explained = section.tables or section.figures or kept or not (section.missing or missing)
    return replace(
        section,
        paragraphs=section.paragraphs if explained else (),
        missing=(*section.missing, *missing),
        sections=tuple(kept),
    )


def _says_anything(section: Section) -> bool:
    return bool(section.paragraphs or section.tables or section.figures or section.sections)


def group_missing(missing: Sequence[Missing]) -> tuple[Missing, ...]:
    """What is missing for the same reason in one entry, such as ``held-out best of Adam on a, SGD on a``."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for one in missing:
        word = next((word for word in (" of ", " on ") if word in one.measure), "")
        head, _, tail = one.measure.partition(word) if word else (one.measure, "", "")
        tails = reasons.setdefault(one.reason, {}).setdefault(head + word, [])
        tails.extend([tail] if tail and tail not in tails else [])
    return tuple(Missing(_join(heads), reason) for reason, heads in reasons.items())


def _join(heads: dict[str, list[str]]) -> str:
    return "; ".join(head + _list(tails) for head, tails in heads.items())


def _list(tails: Sequence[str]) -> str:
    if len(tails) <= _LISTED + 1:
        return ", ".join(tails)
    return f"{', '.join(tails[:_LISTED])} and {len(tails) - _LISTED} more"
