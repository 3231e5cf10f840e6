"""Meters with children: what flows into their node, out of it, and the rest."""

from collections.abc import Iterable, Sequence

from metering.roles import Role
from verification.completeness import MonthTotal, Of, as_measured, total_of
from verification.document import ParentLine, count_text

_SOURCES = frozenset({Role.PV_GENERATION})


def parent_lines(
    scope: Iterable[MonthTotal], everything: Iterable[MonthTotal], of: Of = as_measured
) -> tuple[ParentLine, ...]:
    """Each meter of a scope that has children: the sum of what flows into its node, out of it, and the rest.

    PV generation and what a child exports flow in, like the parent's own import.
    """
    by_parent: dict[str, list[MonthTotal]] = {}
    own: dict[str, list[MonthTotal]] = {}
    for total in everything:
        if total.electric:
            own.setdefault(total.meter.id, []).append(total)
            if total.meter.parent is not None:
                by_parent.setdefault(total.meter.parent, []).append(total)
    names = {t.meter.id: t.meter.name for t in scope if t.electric}
    return tuple(_parent_line(p, names[p], own[p], by_parent[p], of) for p in names if p in by_parent)


def _parent_line(
    parent: str, name: str, mine: Sequence[MonthTotal], below: Sequence[MonthTotal], of: Of
) -> ParentLine:
    own = [(t, not _is_export(t)) for t in mine if t.role not in _SOURCES]
    children = [(t, _is_export(t) or t.role in _SOURCES) for t in below]
    inflow = total_of(of(t) for t, flows_in in [*own, *children] if flows_in)
    outflow = total_of(of(t) for t, flows_in in [*own, *children] if not flows_in)
    rest = None if inflow is None or outflow is None else inflow - outflow
    return ParentLine(
        parent=parent,
        name=name,
        inflow_wh=count_text(inflow),
        outflow_wh=count_text(outflow),
        unmetered_wh=count_text(rest),
    )


def _is_export(total: MonthTotal) -> bool:
    return total.role is Role.EXPORT or total.reading_type == "energy_export_total"
