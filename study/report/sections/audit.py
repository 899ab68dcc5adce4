"""Tells whether search spaces were wide enough, well covered and fair, and what divergence cost."""

from functools import partial

from study.report.document import CellValue, Column, Figure, Section, Table
from study.report.drawing.audit import draw_edges
from study.report.measures.audit.audit import HIT, OUTER, Audit, AxisAudit, Edge
from study.report.measures.audit.coverage import PLACES, Coverage
from study.report.observations import StudyInfo
from study.report.sections.audit_costs import tell_inclusions, tell_losses
from study.report.sections.interval_columns import hide
from study.report.sections.names import titles_of

_CELL = (
    Column("workload", "workload", "Name of the workload.", "text"),
    Column("optimizer", "optimizer", "Name of the optimizer.", "text"),
)


def tell_audit(audit: Audit, info: StudyInfo) -> Section:
    """The section of the search-space audit."""
    parts = (
        _tell_edges(audit, info),
        _tell_coverage(audit),
        tell_losses(audit.losses),
        tell_inclusions(audit.inclusions),
    )
    return Section(
        id="search-space-audit",
        title="Search-space audit",
        paragraphs=(
            (
                "A comparison is fair if no optimizer was held back by its search space. This part looks for the usual "
                "ways in which one is: a range that ends before the optimum, a design that leaves holes, budget that "
                "went to runs that diverged, and a general optimizer that lost to a special case of itself, which good "
                "tuning rules out."
            ),
        ),
        missing=audit.missing,
        sections=tuple(part for part in parts if part.tables or part.missing),
    )


def _tell_edges(audit: Audit, info: StudyInfo) -> Section:
    figures = []
    for place, workload in enumerate(info.workloads):
        axes = tuple(axis for axis in audit.axes if axis.workload == workload.name and axis.kind != "choices")
        if axes:
            figures.append(_edges_figure(place, workload.title, axes, titles_of(info)))
    return Section(
        id="audit-edges",
        title="Edges of the ranges",
        paragraphs=(
            (
                f"A boundary hit is a best point in the outermost {HIT:.0%} of a range. The single best point is a "
                "matter of luck, so the best tenth of the points, five at least, is looked at too: where more of it "
                f"lies in the outermost {OUTER:.0%} than points of the design do by chance, the optimum may lie "
                "beyond this edge; widen the range there. An edge beyond which no value is valid cannot be widened, "
                "and is not flagged. That nothing is flagged does not prove that a range is wide enough: a few "
                "points cannot show much."
            ),
        ),
        tables=(_edges_table(audit),) if audit.axes else (),
        figures=figures,
    )


def _edges_figure(place: int, title: str, axes: tuple[AxisAudit, ...], titles: dict[str, str]) -> Figure:
    beyond = [
        f"{audit.axis} of {titles.get(audit.optimizer, audit.optimizer)} beyond {edge.value}"
        for audit in axes
        for edge in (audit.low, audit.high)
        if edge is not None and edge.beyond
    ]
    return Figure(
        name=f"audit-edges-{place + 1}",
        title=f"Best points between the edges, {title}",
        caption=(
            "Dots: the best tenth of the finished points of the design, five at least. Star: the best. Grey: how many "
            f"points the design has there. Dotted: the outermost {OUTER:.0%}. Triangles: the optimum may lie beyond "
            "this edge. A diverged run counts at chance level."
        ),
        alt=f"Places of the best points of {len(axes)} axes on {title} between the edges of the range. The optimum may "
        f"lie beyond an edge: {', '.join(beyond) or 'nowhere flagged'}.",
        draw=partial(draw_edges, axes, titles),
    )


def _edge_columns(side: str, heading: str) -> tuple[Column, ...]:
    return (
        Column(
            f"{side}_share",
            f"best near {heading} edge",
            f"Share of the best tenth of the points, five at least and all that equal the last of them, that lies in "
            f"the outermost {OUTER:.0%} at the {heading} edge, or has the edge's value on an axis of whole numbers; "
            "95 % Wilson score interval. Points are ranked by their mean over seeds, diverged runs at chance level.",
            "percent",
            low=f"{side}_low",
            high=f"{side}_high",
        ),
        Column(f"{side}_low", "low", f"Lower end of the interval of {side}_share.", "percent", shown=False),
        Column(f"{side}_high", "high", f"Upper end of the interval of {side}_share.", "percent", shown=False),
        Column(
            f"{side}_expected",
            f"by chance, {heading}",
            f"Share of all finished points there: what {side}_share would be if place did not matter.",
            "percent",
            shown=False,
        ),
        Column(
            f"{side}_limit",
            f"{heading} edge is a limit",
            "Whether no value beyond it is valid, as far as is known of the optimizer.",
            "truth",
            shown=False,
        ),
        Column(
            f"{side}_beyond",
            f"beyond {heading}?",
            f"Whether the optimum may lie beyond this edge: {side}_low is above {side}_expected, or the best point "
            "is a boundary hit here and every point near the edge is among the best; never at a limit.",
            "truth",
        ),
    )


_EDGE_COLUMNS = (
    *_CELL,
    Column("axis", "axis", "Name of the axis.", "text"),
    Column("kind", "kind", "Range, whole numbers, or choices; choices have no edge.", "text", shown=False),
    Column("points", "points", "Finished points of the design that vary on the axis.", "integer"),
    Column("best_trial", "best trial", "The best of them; the lowest number among equals.", "integer", shown=False),
    Column("best_value", "best value", "Its value on the axis.", "text"),
    Column("equals", "ties", "Other points with exactly the same mean objective.", "integer", shown=False),
    Column("place", "place", "Place of the best point in the range, on its scale: 0 to 1.", "number"),
    Column("nearest", "nearest edge", "The nearer edge: low or high; empty for choices.", "text"),
    Column("distance", "distance", "From the best point to the nearest edge, as a share of the range.", "number"),
    Column(
        "distance_native",
        "distance, native",
        "The same in the unit of the next column: decades of the value, or of 1 - value on a log1m axis, or the axis's "
        "own units on a linear one.",
        "number",
    ),
    Column("native_unit", "unit", "Unit of distance_native: decades, or units of the axis.", "text"),
    Column(
        "hit",
        "boundary hit",
        f"Whether the best point, and all that equal it, lie in the outermost {HIT:.0%} at the same edge, or have its "
        "value on an axis of whole numbers.",
        "truth",
    ),
    *_edge_columns("low", "low"),
    *_edge_columns("high", "high"),
    Column(
        "gap",
        "longest gap",
        "Longest part of the range without a finished point, as a share of it; of choices, the share that was never "
        "tried.",
        "number",
    ),
    Column(
        "gap_random",
        "gap by chance",
        "Expected longest gap of as many independent random points, H(n + 1) / (n + 1); none for whole numbers and "
        "choices.",
        "number",
    ),
)


def _edges_table(audit: Audit) -> Table:
    return Table(
        "audit-edges",
        "Where the best point lies in every range",
        hide(_EDGE_COLUMNS, "points", "nearest", "distance", "distance_native", "native_unit", "gap_random"),
        tuple(_edge_row(axis) for axis in audit.axes),
        note=(
            "Points of the design only, not the default setting. Intervals are 95 % Wilson score intervals, not "
            "corrected for the number of axes: of forty edges without an optimum near, one or two are flagged by "
            "chance."
        ),
    )


def _edge_row(axis: AxisAudit) -> tuple[CellValue, ...]:
    return (
        axis.workload,
        axis.optimizer,
        axis.axis,
        axis.kind,
        axis.points,
        axis.best_trial,
        axis.best_value,
        axis.equals,
        axis.best_place,
        axis.nearest,
        axis.distance,
        axis.distance_native,
        axis.native_unit,
        axis.hit,
        *_edge_cells(axis.low),
        *_edge_cells(axis.high),
        axis.gap,
        axis.gap_random,
    )


def _edge_cells(edge: Edge | None) -> tuple[CellValue, ...]:
    if edge is None:
        return (None,) * 6
    return (edge.best.value, edge.best.low, edge.best.high, edge.expected, edge.is_limit, edge.beyond)


_COVERAGE_COLUMNS = (
    *_CELL,
    Column("planned", "planned", "Trials of the plan, the default setting among them.", "integer"),
    Column("finished", "finished", "Trials that have a result for each seed; diverged ones have one.", "integer"),
    Column("ended", "without result", "Trials that failed, were pruned or did not fit into memory.", "integer"),
    Column("pending", "pending", "Trials that have not ended.", "integer"),
    Column(
        "absent_axis",
        "missing where",
        "Axis on which design points without a result lie most unlike the finished ones; empty if fewer than five are "
        "known on either side.",
        "text",
    ),
    Column(
        "absent_p",
        "missing by chance, p",
        "p-value of a Mann-Whitney U test on that axis, by Holm over the axes: small means that what is missing is not "
        "random, so what is left is no sample of the search space.",
        "p",
    ),
    Column("points", "points", "Finished points of the design.", "integer"),
    Column("axes", "axes", "Axes that vary in every trial; the next columns are over them.", "integer"),
    Column(
        "discrepancy",
        "discrepancy",
        "Squared centred L2 discrepancy of the points in the unit cube (Hickernell 1998): lower is more even.",
    ),
    Column(
        "discrepancy_random",
        "by chance",
        "Expected discrepancy of as many independent random points, in closed form: ((5/4)^d - (13/12)^d) / n on "
        "continuous axes.",
    ),
    Column(
        "discrepancy_random_high",
        "97.5 % by chance",
        "Discrepancy that 97.5 % of random designs stay below; a design above it is less even than chance. From 200 "
        "random designs with a fixed seed.",
        shown=False,
    ),
    Column(
        "radius",
        "covering radius",
        f"Largest distance from one of {PLACES} fixed places of the cube to its nearest point, over ranges; the side "
        "of the cube is 1. A lower bound of the covering radius.",
    ),
    Column("radius_random", "radius by chance", "Its mean over 20 random designs of as many points."),
)


def _tell_coverage(audit: Audit) -> Section:
    return Section(
        id="audit-coverage",
        title="Coverage of the design",
        paragraphs=(
            (
                "An incomplete design is no sample of the search space if what is missing is not random, as when large "
                "models fail for want of memory. The evenness of the finished points is set beside that of as many "
                "independent random points: a Sobol' design should be well below, a grid need not be."
            ),
        ),
        tables=(
            Table(
                "audit-coverage",
                "How the finished points cover the search space",
                hide(_COVERAGE_COLUMNS, "planned", "axes"),
                tuple(_coverage_row(cell) for cell in audit.coverage),
                note="Evenness is of the design's points only, not of the default setting. Diverged points count as "
                "any.",
            ),
        )
        if audit.coverage
        else (),
    )


def _coverage_row(cell: Coverage) -> tuple[CellValue, ...]:
    return (
        cell.workload,
        cell.optimizer,
        cell.planned,
        cell.finished,
        cell.ended,
        cell.pending,
        cell.absent_axis,
        cell.absent_p,
        cell.points,
        cell.axes,
        cell.discrepancy,
        cell.discrepancy_random,
        cell.discrepancy_random_high,
        cell.radius,
        cell.radius_random,
    )
