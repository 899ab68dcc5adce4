"""How numbers, durations, times and counts are written on the pages; ``static/format.js`` writes them alike."""

import datetime as dt
import json
import math

from markupsafe import Markup

from dashboards.api.models import Value

#: What stands where there is no such number.
NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_DIGITS = 4
#: Numbers below this power of ten, or from that one on, are written with it.
_LEAST_POWER, _MOST_POWER = -4, 6
_RATES = ((1, "s"), (60, "min"), (3600, "h"))
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def format_number(value: float | None) -> str:
    """A measured number with 4 significant digits, zeros at its end among them, so that columns stand in line."""
    if value is None or not math.isfinite(value):
        return NONE
    return _write(value, keep_zeros=True)


def format_value(value: Value | None) -> str:
    """A chosen value, such as a hyperparameter: at most 4 significant digits, no zeros at its end; words stay."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return NONE
    return _write(value, keep_zeros=False)


def _write(value: float, *, keep_zeros: bool) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    mantissa, exponent = f"{size:.{_DIGITS - 1}e}".split("e")
    power = int(exponent)
    plain = _LEAST_POWER <= power < _MOST_POWER
    number = f"{size:.{max(_DIGITS - 1 - power, 0)}f}" if plain else mantissa
    text = number if keep_zeros else _trim(number)
    if not plain:
        text += f"e{MINUS if power < 0 else ''}{abs(power)}"
    return MINUS + text if value < 0 else text


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_count(count: int | None) -> str:
    """A count with its thousands apart, such as ``12,345``."""
    return NONE if count is None else f"{count:,}".replace("-", MINUS)


def format_share(share: float | None) -> str:
    """A share of 1 in percent; what is not quite nothing or everything is never written as that."""
    if share is None or not math.isfinite(share):
        return NONE
    percent = 100 * share
    if 0 < percent < 1:
        return "<1 %"
    return f"{math.floor(percent) if percent > 99 else math.floor(percent + 0.5)} %"


def format_duration(seconds: float | None) -> str:
    """A duration in its two largest units, such as ``2 h 5 min``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 1:
        return "<1 s"
    left = round(seconds)
    place = next(i for i, (size, _) in enumerate(_UNITS) if left >= size)
    size, unit = _UNITS[place]
    text = f"{left // size} {unit}"
    if place + 1 < len(_UNITS):
        finer, finer_unit = _UNITS[place + 1]
        rest = left % size // finer
        text += f" {rest} {finer_unit}" if rest else ""
    return text


def format_rate(rate: float | None) -> str:
    """Trials per second, or per minute or hour where they are slow."""
    if rate is None or not math.isfinite(rate):
        return NONE
    factor, unit = next(((by, name) for by, name in _RATES if rate * by >= 1), _RATES[-1])
    return f"{rate * factor:.{1 if rate * factor < 100 else 0}f} trials/{unit}"


def format_bytes(size: int | None) -> str:
    """A size, such as ``1.4 MB``."""
    if size is None:
        return NONE
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def format_time(at: dt.datetime | None, *, seconds: bool = False) -> Markup | str:
    """A point in time, UTC to the minute or second, as an element that machines read too."""
    if at is None:
        return NONE
    at = at.astimezone(dt.UTC)
    text = f"{at:%Y-%m-%d %H:%M:%S}" if seconds else f"{at:%Y-%m-%d %H:%M}"
    return Markup('<time datetime="{}">{}</time>').format(f"{at:%Y-%m-%dT%H:%M:%SZ}", text)


def format_json(value: object) -> str:
    """Plain JSON in one line, for people; escaped like all other text."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def format_sentence(text: str) -> str:
    """What a problem says, where it stands alone: with a capital letter, and a full stop unless a command ends it."""
    begun = text[:1].upper() + text[1:]
    return begun if not begun or begun[-1] in ".!?:`" or ": " in begun else f"{begun}."


def format_things(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun, such as ``1 study`` or ``2 studies``."""
    return f"{format_count(count)} {one if count == 1 else many or one + 's'}"
