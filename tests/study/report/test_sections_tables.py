"""What all sections have in common: names of optimizers, columns that say nothing, what could not be computed."""

from dataclasses import replace

from made_observations import make_observations

from study.report.document import Column, Section, Table
from study.report.measures.missing import Missing
from study.report.sections.absences import gather_absences, group_missing
from study.report.sections.names import count_of, count_points, count_runs
from study.report.sections.tables import settle_tables

_COLUMNS = (
    Column("workload", "workload", "m", "text"),
    Column("optimizer", "optimizer", "m", "text"),
    Column("value", "value", "m"),
    Column("other", "other", "m", "text"),
)


def _info(*workloads: str):
    return make_observations({(workload, "adam"): lambda unit: unit[:, 0] for workload in workloads}, points=4).info


def _settle(rows, *workloads):
    return (
        settle_tables(
            Section("s", "S", sections=[Section("p", "P", tables=[Table("t", "T", _COLUMNS, rows)])]), _info(*workloads)
        )
        .sections[0]
        .tables[0]
    )


def test_people_read_what_an_optimizer_is_called_and_files_keep_its_name():
    table = _settle((("a", "adam", 1.0, "x"),), "a", "b")
    assert [column.name for column in table.columns] == ["workload", "optimizer", "title", "value", "other"]
    assert [column.name for column in table.columns if column.shown] == ["workload", "title", "value", "other"]
    assert table.rows == (("a", "adam", "Adam", 1.0, "x"),)


def test_the_only_workload_and_a_column_without_entries_are_in_the_files_only():
    table = _settle((("a", "adam", None, "x"), ("a", "adam", None, "")), "a")
    assert [column.name for column in table.columns if column.shown] == ["title", "other"]
    assert len(table.columns) == 5


def test_a_table_without_rows_or_with_nothing_at_all_keeps_its_columns():
    assert sum(column.shown for column in _settle((), "a", "b").columns) == 4
    nothing = Table("t", "T", _COLUMNS[2:], ((None, ""),))
    kept = settle_tables(Section("s", "S", tables=[nothing]), _info("a")).tables[0]
    assert [column.shown for column in kept.columns] == [True, True]


def test_a_reason_is_said_once_with_everything_that_it_holds_for():
    missing = [Missing(f"held-out best of {name} on a", "There is one seed.") for name in "bcdefgh"]
    missing += [Missing("tests", "There is one seed."), Missing("tests", "Another reason."), missing[0]]
    grouped = group_missing(missing)
    assert [(one.measure, one.reason) for one in grouped] == [
        ("held-out best of b on a, c on a, d on a, e on a and 3 more; tests", "There is one seed."),
        ("tests", "Another reason."),
    ]


def test_sections_with_nothing_but_absences_are_gathered_at_the_end():
    absent = Missing("budget", "No random points.")
    full = Section("full", "Full", ("Text.",), tables=[Table("t", "T", _COLUMNS, ())])
    part = Section("part", "Part", missing=[Missing("part", "No data.")])
    sections = gather_absences(
        [Section("empty", "Empty", ("Long story.",), missing=[absent]), replace(full, sections=[part])]
    )
    assert [section.id for section in sections] == ["full", "not-computed"]
    assert (sections[0].sections, sections[0].missing) == ((), (Missing("part", "No data."),))
    assert sections[1].missing == (absent,)
    assert [section.id for section in gather_absences([full])] == ["full"]


def test_counts_are_words():
    assert (count_of(1, "seed"), count_of(3, "seed")) == ("1 seed", "3 seeds")
    assert count_points([("A", 8, 0), ("B", 8, 0)]) == "n = 8 points of each optimizer, none with a diverged run"
    assert count_points([("A", 8, 2), ("B", 8, 0)]).endswith("with a diverged run: 2 of A, none of the others")
    assert count_points([("A", 8, 2), ("B", 7, 1)]) == "n = 8 (A), 7 (B); with a diverged run: 2 of A, 1 of B"
    info = _info("a")
    assert count_runs(info) == "3 seeds per setting"
    assert count_runs(replace(info, source="optuna", seeds=1)) == "1 run per setting"
