"""The registry of facts, to read and to change, and what the daily checks of an open month found."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.access import Access, AccessDep, audit, require
from api.errors import invalid, unknown
from api.rights import Permission
from api.sources import Sources, SourcesDep
from factors.tariffs import unknown_calendars
from metering.i18n import _
from storage.daily_checks import DailyChecks, DailyRow
from storage.facts.fact import Fact
from storage.facts.judge import mistakes
from storage.facts.kinds import KINDS, BenchmarkFact, BillFact
from storage.facts.state import Facts
from storage.facts.tariff import TariffFact
from storage.registry import RegistryReader, RegistryWriter

router = APIRouter(tags=["registry of facts"])
MAX_FACTS = 1000
MonthPath = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="YYYY-MM")]


class FactsIn(BaseModel):
    """Facts to set, all or none."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=500, description="Reason of the change; kept with every fact.")
    facts: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=MAX_FACTS,
        description="Each with its `kind` and the fields of that kind's sheet.",
    )


class RevisionOut(BaseModel):
    """A state of the registry."""

    revision: int
    digest: str = Field(description="SHA-256, hex, over every row up to it.")


class DailyChecksOut(BaseModel):
    """What one scope's newest run found."""

    month: str
    scope_kind: str
    scope_id: str
    day: str = Field(description="Local day of the run.")
    at_ms: int
    until_ms: int = Field(description="The month was judged up to here.")
    outcome: str
    checks: list[dict[str, Any]] = Field(description="As in a month document.")


class _Told:
    """The registry's changes in the audit log, with the caller's address."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def record(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        audit(self._request, actor, action, subject, fact=dict(detail))


@router.get("/facts/{kind}", summary="Facts of a kind", dependencies=[require(Permission.REGISTRY_VIEW)])
def facts(
    sources: SourcesDep,
    kind: str,
    subject: Annotated[
        str | None, Query(max_length=64, description="Only of this enterprise, meter or scope.")
    ] = None,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_FACTS)] = 100,
) -> list[dict[str, Any]]:
    """What holds now, of those that the caller may see. Kinds are the sheets of `tanyun registry template`."""
    if kind not in KINDS:
        raise unknown("kind", kind)
    found = [fact for fact in _known(sources).of(KINDS[kind], subject) if _sees(sources, fact)]
    return [fact.model_dump(mode="json") for fact in found[offset : offset + limit]]


@router.put("/facts", summary="Set facts", dependencies=[require(Permission.REGISTRY_EDIT)])
def put_facts(request: Request, sources: SourcesDep, access: AccessDep, body: FactsIn) -> RevisionOut:
    """Set facts, all or none. Facts that are there already change nothing; every mistake is listed at once."""
    fresh, wrong = _parsed(body.facts)
    known = _known(sources)
    wrong += [f"facts[{i}]: {text}" for i, text in mistakes(fresh, known, sources.park)]
    wrong += _unknown_calendars(fresh)
    if wrong:
        raise invalid("facts", "; ".join(wrong))
    if any(_of_the_park(sources, fact) for fact in fresh):
        sources.whole_park()
    return _apply(request, sources, access, fresh, body.why)


def _unknown_calendars(fresh: list[Fact]) -> list[str]:
    unknown = unknown_calendars(fact.calendar for fact in fresh if isinstance(fact, TariffFact))
    return [
        _("there is no official calendar {name!r}; see `tanyun tariff show`").format(name=name)
        for name in unknown
    ]


def _apply(request: Request, sources: Sources, access: Access, fresh: list[Fact], why: str) -> RevisionOut:
    with RegistryWriter(sources.settings.facts, _Told(request)) as writer:
        revision = writer.apply(fresh, access.principal.name, why, sources.clock())
    return RevisionOut(revision=revision.number, digest=revision.digest)


def _parsed(given: list[dict[str, Any]]) -> tuple[list[Fact], list[str]]:
    fresh: list[Fact] = []
    wrong: list[str] = []
    for i, plain in enumerate(given):
        kind = KINDS.get(str(plain.get("kind")))
        if kind is None:
            wrong.append(
                f"facts[{i}].kind: "
                + _("there is none of that name; there are {kinds}").format(kinds=", ".join(KINDS))
            )
            continue
        try:
            fresh.append(kind.model_validate({key: value for key, value in plain.items() if key != "kind"}))
        except ValidationError as error:
            wrong += [
                f"facts[{i}].{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
            ]
    return fresh, wrong


def _known(sources: Sources) -> Facts:
    path = sources.settings.facts
    if not path.exists():
        return Facts()
    with RegistryReader(path) as reader:
        return reader.facts()


def _of_the_park(sources: Sources, fact: Fact) -> bool:
    """Whether a fact is about the park itself, or an industry."""
    return isinstance(fact, BenchmarkFact) or (fact.SUBJECT == "scope" and fact.subject == sources.park.id)


def _sees(sources: Sources, fact: Fact) -> bool:
    """Facts about the park are everybody's to read: its formula and benchmarks stand in every report."""
    if _of_the_park(sources, fact):
        return True
    if fact.SUBJECT == "meter":
        return sources.park.meter(fact.subject) is not None
    mine = {enterprise.id for enterprise in sources.park.enterprises}
    return fact.subject in mine and (
        not isinstance(fact, BillFact) or sources.park.meter(fact.meter) is not None
    )


@router.get(
    "/months/{month}/daily-checks",
    summary="Daily checks of an open month",
    dependencies=[require(Permission.MONTH_VIEW)],
)
def daily_checks(sources: SourcesDep, month: MonthPath) -> list[DailyChecksOut]:
    """The newest daily run of every scope that the caller may see; empty when there was none."""
    path = sources.settings.daily_checks
    if path is None or not path.exists():
        return []
    with DailyChecks(path, writable=False) as store:
        rows = store.newest(month)
    return [_daily(row) for row in rows if sources.sees(row.scope_kind, row.scope_id)]


def _daily(row: DailyRow) -> DailyChecksOut:
    return DailyChecksOut(
        month=row.month, scope_kind=row.scope_kind, scope_id=row.scope_id, day=row.day, at_ms=row.at_ms, until_ms=row.until_ms,
        outcome=row.outcome, checks=json.loads(row.checks),
    )  # fmt: skip
