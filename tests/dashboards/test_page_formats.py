"""Numbers, durations and times on the pages."""

import datetime as dt

import pytest

from dashboards.pages import formats

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "measured", "chosen"),
    [
        (None, NONE, NONE),
        (float("nan"), NONE, NONE),
        (float("inf"), NONE, NONE),
        (0.0, "0", "0"),
        (0.0278, "0.02780", "0.0278"),
        (1.0, "1.000", "1"),
        (-12.34567, f"{MINUS}12.35", f"{MINUS}12.35"),
        (9999.6, "10000", "10000"),
        (123456.4, "123456", "123456"),
        (999999.7, "1.000e6", "1e6"),
        (1e-4, "0.0001000", "0.0001"),
        (3.14159e-5, f"3.142e{MINUS}5", f"3.142e{MINUS}5"),
        (2.5e20, "2.500e20", "2.5e20"),
        (0.99999, "1.000", "1"),
    ],
)
def test_measured_numbers_keep_their_zeros_and_chosen_values_do_not(
    value: float | None, measured: str, chosen: str
) -> None:
    assert formats.format_number(value) == measured
    assert formats.format_value(value) == chosen


def test_words_and_switches_are_shown_as_such() -> None:
    assert [formats.format_value(value) for value in ("cosine", True, False, 128)] == ["cosine", "yes", "no", "128"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, NONE),
        (0.2, "<1 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 3600 * 4 + 59, "3 d 4 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert formats.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, NONE), (0, "0 %"), (0.001, "<1 %"), (0.005, "<1 %"), (0.125, "13 %"), (0.9999, "99 %"), (1, "100 %")],
)
def test_a_share_is_never_rounded_to_nothing_or_everything(share: float | None, text: str) -> None:
    assert formats.format_share(share) == text


def test_slow_rates_are_told_per_minute_or_hour() -> None:
    texts = [formats.format_rate(rate) for rate in (None, 250.0, 1.5, 0.05, 0.001, 0.00001)]
    assert texts == [NONE, "250 trials/s", "1.5 trials/s", "3.0 trials/min", "3.6 trials/h", "0.0 trials/h"]


def test_counts_sizes_and_things_are_written_for_people() -> None:
    assert [formats.format_count(count) for count in (None, 0, 1234567)] == [NONE, "0", "1,234,567"]
    assert [formats.format_bytes(size) for size in (None, 999, 1500, 4815814)] == [NONE, "999 B", "1.5 kB", "4.8 MB"]
    assert formats.format_things(1, "study", "studies") == "1 study"
    assert formats.format_things(1200, "run") == "1,200 runs"


def test_times_are_utc_whatever_zone_they_came_in() -> None:
    at = dt.datetime(2026, 11, 26, 1, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert formats.format_time(at) == '<time datetime="2026-11-25T23:30:00Z">2026-11-25 23:30</time>'
    assert formats.format_time(None) == NONE
