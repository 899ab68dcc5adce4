"""What was run: design, workloads, search spaces, how runs ended, environment."""

from study.axis import format_value
from study.report.document import CellValue, Column, Section, Table
from study.report.measures.endings import PENDING, Endings
from study.report.observations import AxisInfo, CellInfo, StudyInfo
from study.report.sections.names import count_runs
from workers.messages import Termination

_KEYS = (
    Column("workload", "workload", "Name of the workload.", "text"),
    Column("optimizer", "optimizer", "Name of the optimizer in the spec.", "text"),
)

_ABOUT_ENDINGS = (
    "Every run of the plan is in this table, whatever became of it. A diverged run counts everywhere with the "
    "objective of a model that learned nothing; runs that failed or were pruned are in no comparison."
)
_ABOUT_SPACES = (
    "Everything that is said about a search space is about exactly these ranges, with settings spread evenly on the "
    "scale of each axis: another range gives other numbers."
)


def tell_study(info: StudyInfo, endings: Endings) -> Section:
    """The section about what was run."""
    return Section(
        id="study",
        title="What was run",
        paragraphs=_paragraphs(info),
        sections=(
            Section("workloads", "Workloads", _about_workloads(info), (_workload_table(info),)),
            Section("spaces", "Search spaces", _about_spaces(info), (_space_table(info),)),
            Section(
                "endings",
                "How runs ended",
                (_ABOUT_ENDINGS,),
                (_ending_table(endings), _meaning_table(endings), *([_failure_table(info)] if info.failures else [])),
            ),
            *([Section("provenance", "Provenance", _provenance(info))] if _provenance(info) else []),
        ),
    )


def _paragraphs(info: StudyInfo) -> list[str]:
    plan = f"{info.design} per optimizer and workload, {count_runs(info)}."
    if info.source == "service":
        plan += " The default setting of every optimizer is tried too, as trial 0: it is no point of the design."
    if info.paired_seeds and info.seeds > 1:
        plan += (
            " Seeds are paired: seed s means the same initial weights, data order and augmentation for every trial and "
            "optimizer."
        )
    unit = f" ({info.unit})" if info.unit else ""
    when = " after its last epoch" if info.source == "service" else ""
    judged = (
        f"A trial is one setting of hyperparameters, judged by {info.objective}{unit}{when}"
        f"{', the mean over its seeds' if info.seeds > 1 else ''}. Lower is better."
    )
    return [plan, judged]


def _provenance(info: StudyInfo) -> list[str]:
    """Where the runs come from, so that they can be made again."""
    made = [f"Study seed {info.study_seed}."] if info.study_seed is not None else []
    made += [f"Spec SHA-256 {info.spec_hash}."] if info.spec_hash else []
    made += [f"Created {info.created[:19].replace('T', ' ')} UTC."] if info.created else []
    return [text for text in (" ".join(made), *_environment(info)) if text]


def _environment(info: StudyInfo) -> list[str]:
    environment = info.environment
    if not environment:
        return []
    packages = ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items() if version)
    machine = (
        f"{environment.get('processor')} ({environment.get('processors')} processors), {environment.get('platform')}"
    )
    return [
        f"Python {environment.get('python')}, {packages}; {machine}; commit {environment.get('commit') or 'unknown'}."
    ]


def _about_workloads(info: StudyInfo) -> list[str]:
    cited: dict[str, list[str]] = {}
    for workload in info.workloads:
        if workload.citation:
            cited.setdefault(workload.citation, []).append(workload.name)
    return [f"{', '.join(names)}: {citation}." for citation, names in cited.items()]


def _workload_table(info: StudyInfo) -> Table:
    columns = (
        _KEYS[0],
        Column("title", "what it is", "Model and data set.", "text"),
        Column("training", "training", "Budget, batch size and whatever the study changed.", "text"),
        Column("chance", "chance level", "Objective of a model that learned nothing: diverged runs count at it."),
        Column("chance_source", "known from", "How the chance level is known.", "text"),
        Column("target", "target error", "Validation error that counts as reached in times to target.", "percent"),
    )
    rows = tuple((w.name, w.title, w.training, w.chance, w.chance_source, w.target) for w in info.workloads)
    return Table("workloads", "What was trained", columns, rows)


def _about_spaces(info: StudyInfo) -> list[str]:
    cited: dict[str, list[str]] = {}
    for cell in info.cells:
        if cell.citation and cell.title not in cited.setdefault(cell.citation, []):
            cited[cell.citation].append(cell.title)
    published = "; ".join(f"{', '.join(titles)}: {citation}" for citation, titles in cited.items())
    paragraphs = [_ABOUT_SPACES, *([f"Optimizers. {published}."] if published else [])]
    for cell in {cell.optimizer: cell for cell in info.cells if cell.constraints}.values():
        paragraphs.append(f"Points of {cell.title} meet: {', '.join(cell.constraints)}.")
    return paragraphs


def _space_table(info: StudyInfo) -> Table:
    columns = (
        _KEYS[1],
        Column("title", "what it is", "The optimizer, with the options that make it a variant.", "text"),
        Column("axis", "axis", "Hyperparameter, option or axis of the training.", "text"),
        Column("low", "low", "Smallest value; all choices; or what is held.", "text"),
        Column("high", "high", "Largest value; empty for choices and for what is held.", "text"),
        Column("scale", "scale", "How values spread: linear, log, log1m (log of 1 - x), choices, or fixed.", "text"),
        Column("when", "varies when", "Condition under which the axis varies; empty if always.", "text"),
        Column("default", "default", "What the default setting, trial 0, has on the first workload.", "text"),
        Column("citation", "publication", "Where the optimizer was published.", "text", shown=False),
    )
    first = {cell.optimizer: cell for cell in reversed(info.cells)}
    rows = [row for cell in reversed(first.values()) for row in _space_rows(cell)]
    return Table("search-spaces", "Search spaces", columns, tuple(rows), longest=200)


def _space_rows(cell: CellInfo) -> list[tuple[CellValue, ...]]:
    varied = [
        (cell.optimizer, cell.title, axis.name, *_range(axis), axis.spec.when, _shown(axis), cell.citation)
        for axis in cell.axes
    ]
    fixed = [
        (cell.optimizer, cell.title, name, format_value(value), None, "fixed", "", None, cell.citation)
        for name, value in cell.fixed.items()
    ]
    return [*varied, *fixed]


def _range(axis: AxisInfo) -> tuple[str, str | None, str]:
    if axis.spec.is_categorical:
        return ", ".join(format_value(choice) for choice in axis.spec.choices), None, "choices"
    low, high = axis.spec.ends
    return format_value(low), format_value(high), axis.spec.scale + (", whole numbers" if axis.spec.integer else "")


def _shown(axis: AxisInfo) -> str | None:
    return None if axis.default is None else format_value(axis.default)


def _ending_table(endings: Endings) -> Table:
    names = list(endings.total)
    columns = (
        *_KEYS,
        *(Column(name, name.replace("_", " "), f"Runs: {_meaning(name)}.", "integer") for name in names),
        Column("devices", "devices", "Where they ran.", "text"),
        Column("engines", "engines", "How runs were trained together.", "text"),
    )
    rows: tuple[tuple[CellValue, ...], ...] = tuple(
        (
            cell.workload,
            cell.optimizer,
            *(cell.endings.get(name, 0) for name in names),
            ", ".join(cell.devices),
            "; ".join(cell.engines),
        )
        for cell in endings.cells
    )
    return Table("endings", "How the runs of each optimizer ended", columns, rows, longest=200)


def _meaning_table(endings: Endings) -> Table:
    columns = (
        Column("termination", "termination", "How runs ended.", "text"),
        Column("runs", "runs", "How many of the study.", "integer"),
        Column("meaning", "meaning", "What that means.", "text"),
    )
    rows = tuple((name, count, _meaning(name)) for name, count in endings.total.items())
    return Table("terminations", "What endings mean", columns, rows)


def _meaning(name: str) -> str:
    return "not yet run" if name == PENDING else Termination[name.upper()].value


def _failure_table(info: StudyInfo) -> Table:
    columns = (
        *_KEYS,
        Column("termination", "termination", "How the attempts ended.", "text"),
        Column("attempts", "attempts", "How many ended like this for the same reason.", "integer"),
        Column("reason", "reason", "Last line of their errors.", "text"),
        Column("error", "error", "The whole error of the newest one.", "text", shown=False),
    )
    rows = tuple((f.workload, f.optimizer, f.termination, f.attempts, f.reason, f.error) for f in info.failures)
    more = f"{info.failures_more} more kinds of failure are not listed." if info.failures_more else ""
    return Table("failures", "Attempts that brought no result", columns, rows, more, longest=100)
