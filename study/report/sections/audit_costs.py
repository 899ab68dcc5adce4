"""Tells what divergence cost, and whether an optimizer lost to a special case of itself."""

from study.report.document import CellValue, Column, Section, Table
from study.report.measures.audit.budget_losses import BudgetLosses
from study.report.measures.audit.inclusion import InclusionCheck, Inclusions
from study.report.measures.intervals import Estimate

_CELL = (
    Column("workload", "workload", "Name of the workload.", "text"),
    Column("optimizer", "optimizer", "Name of the optimizer.", "text"),
)


def _share_columns(name: str, heading: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(name, heading, meaning, "percent", low=f"{name}_low", high=f"{name}_high"),
        Column(f"{name}_low", "low", f"Lower end of the 95 % interval of {name}.", "percent", shown=False),
        Column(f"{name}_high", "high", f"Upper end of the 95 % interval of {name}.", "percent", shown=False),
    )


_BY_TRIALS = "Percentile bootstrap over trials; no interval where it is 0 or 1, or where points are no sample."
_LOSS_COLUMNS = (
    *_CELL,
    Column("trials", "trials", "Trials with a run that ended, the default setting among them.", "integer"),
    Column("runs", "runs", "Runs that completed or diverged.", "integer"),
    Column("diverged", "diverged", "Those that diverged.", "integer"),
    *_share_columns("diverged_share", "share diverged", f"Diverged of runs. {_BY_TRIALS}"),
    Column(
        "at_chance", "at chance", "Runs that learned nothing, the diverged ones among them.", "integer", shown=False
    ),
    *_share_columns("at_chance_share", "share at chance", f"Runs that learned nothing, of all runs. {_BY_TRIALS}"),
    *_share_columns(
        "epochs_share",
        "epochs lost",
        f"Epochs trained by runs that diverged, of all epochs trained, failed and pruned runs included. {_BY_TRIALS}",
    ),
    *_share_columns(
        "budget_share",
        "budget lost",
        f"Epochs that the runs that diverged could have trained, of those of all runs that ended: what the search paid "
        f"for places where nothing is found. {_BY_TRIALS}",
    ),
    *_share_columns(
        "seconds_share",
        "time lost",
        f"Seconds of runs that diverged, of all seconds; seconds of a run are its part of its batch's. {_BY_TRIALS}",
    ),
)


def tell_losses(losses: tuple[BudgetLosses, ...]) -> Section:
    """The part of what divergence cost."""
    return Section(
        id="audit-losses",
        title="Budget lost to divergence",
        paragraphs=(
            (
                "Runs that diverge end early, so they cost fewer epochs than they were given; both are shown. A large "
                "share says that the range reaches far into divergence, which costs an optimizer a part of its tuning "
                "budget: a property of the range as much as of the optimizer."
            ),
        ),
        tables=(
            Table(
                "audit-losses",
                "What divergence cost",
                _LOSS_COLUMNS,
                tuple(_loss_row(cell) for cell in losses),
                note="Shares of what was spent in this study; intervals are for other points of the same design.",
            ),
        )
        if losses
        else (),
    )


def _loss_row(cell: BudgetLosses) -> tuple[CellValue, ...]:
    costs = {cost.unit: cost.share for cost in cell.costs}
    return (
        cell.workload,
        cell.optimizer,
        cell.trials,
        cell.runs,
        cell.diverged,
        *_estimate_cells(cell.diverged_share),
        cell.at_chance,
        *_estimate_cells(cell.at_chance_share),
        *(value for unit in ("epochs", "budget", "seconds") for value in _estimate_cells(costs.get(unit))),
    )


def _estimate_cells(estimate: Estimate | None) -> tuple[CellValue, ...]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


_INCLUSION_COLUMNS = (
    Column("workload", "workload", "Name of the workload.", "text"),
    Column("special", "special case", "Name of the special case.", "text"),
    Column("general", "general", "Name of the optimizer that contains it.", "text"),
    Column("kind", "kind", "Exact, or in a limit.", "text", shown=False),
    Column("reason", "why it is one", "How the general optimizer becomes the special one.", "text", shown=False),
    Column(
        "verdict",
        "verdict",
        "Violated: the general optimizer's best is worse, p_adjusted below 0.05 (or by more than the margin where "
        "seeds do not differ). Holds: not so, and the interval of the difference ends below the margin. Not "
        "applicable: the study's search space does not reach the special case. Else: cannot be told.",
        "text",
    ),
    Column(
        "difference",
        "general - special",
        "Mean objective of the general optimizer's best trial less that of the best special trial that it could have "
        "been; above 0 it lost. Student's t interval over paired seeds, Welch's where seeds are not paired; diverged "
        "runs at chance level.",
        low="difference_low",
        high="difference_high",
    ),
    Column("difference_low", "low", "Lower end of the 95 % interval of difference.", shown=False),
    Column("difference_high", "high", "Upper end of the 95 % interval of difference.", shown=False),
    Column("margin", "margin", "Difference that counts as no worse: the tolerance times what can be gained."),
    Column("seeds", "seeds", "Seeds that the interval is from.", "integer"),
    Column("p", "p", "Two-sided p-value of the difference.", "p", shown=False),
    Column("p_adjusted", "p, Holm", "The same by Holm over all checks of the study that have one.", "p"),
    Column(
        "special_trial", "special trial", "The best trial of the special case that qualifies.", "integer", shown=False
    ),
    Column("special_mean", "special mean", "Its mean objective.", shown=False),
    Column("special_trials", "special trials", "Finished trials that qualify.", "integer", shown=False),
    Column("general_trial", "general trial", "The best trial of the general optimizer.", "integer", shown=False),
    Column("general_mean", "general mean", "Its mean objective.", shown=False),
    Column("general_trials", "general trials", "Its finished trials.", "integer", shown=False),
    Column(
        "note",
        "note",
        "Why it is not applicable, or cannot be told, or which range of the general optimizer ends before the best "
        "special trial; empty if its design could have hit that.",
        "text",
    ),
)


def tell_inclusions(inclusions: Inclusions) -> Section:
    """The part of special cases."""
    checks = inclusions.checks
    violated = [check for check in checks if check.verdict == "violated"]
    summary = (
        f"{len(checks)} pairs of this study's optimizers were looked at; "
        f"{sum(check.verdict == 'not applicable' for check in checks)} are not applicable in its search spaces, "
        f"{len(violated)} are violated."
    )
    return Section(
        id="audit-inclusions",
        title="Inclusion checks",
        paragraphs=(
            (
                "An optimizer that contains another as a special case cannot lose to it if both are tuned well "
                "(Choi et al. 2019, arXiv 1910.05446). Where it does, its search space or its budget was too small, "
                "and its place in any ranking is in doubt. The difference is between two selected trials, both of "
                "which look better than they are; so a check is a warning, not a measurement."
            ),
            *((summary,) if checks else ()),
        ),
        tables=(
            Table(
                "audit-inclusions",
                "Special cases against the optimizers that contain them",
                _INCLUSION_COLUMNS,
                tuple(_inclusion_row(check) for check in checks),
                note=f"The margin is {inclusions.tolerance:g} of the way from the best result on the workload to "
                "its chance level.",
            ),
        )
        if checks
        else (),
        missing=inclusions.missing,
    )


def _inclusion_row(check: InclusionCheck) -> tuple[CellValue, ...]:
    notes = (*check.blocked, *check.outside)
    return (
        check.workload,
        check.special,
        check.general,
        check.kind,
        check.reason,
        check.verdict,
        *_estimate_cells(check.difference),
        check.margin,
        check.seeds or None,
        check.p,
        check.p_adjusted,
        check.special_trial,
        check.special_mean,
        check.special_trials,
        check.general_trial,
        check.general_mean,
        check.general_trials,
        "; ".join(notes),
    )
