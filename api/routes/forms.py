"""The enterprise's monthly form: what is known, and what it states."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from api.access import AccessDep, audit, require
from api.errors import Problem
from api.forms import FormError, MonthForm, Stated, boundary_meter, prefilled
from api.rights import Permission
from api.routes.months import MonthPath, ScopePath
from api.sources import SourcesDep
from metering.config import validation_mistakes
from storage.facts.judge import mistakes
from storage.registry import RegistryWriter

router = APIRouter(tags=["monthly form"])


@router.get(
    "/forms/{month}/{scope}",
    summary="The monthly form, prefilled",
    dependencies=[require(Permission.MONTH_VIEW)],
)
def form(sources: SourcesDep, month: MonthPath, scope: ScopePath) -> dict[str, Any]:
    """Ten fields: this month's values where they are known; a bill goes on where the last one ended."""
    sources.enterprise(scope, "scope")
    found = prefilled(sources.facts(), scope, month, boundary_meter(sources.park.meters_of(scope)))
    return {name: None if value is None else str(value) for name, value in found.items()}


@router.post(
    "/forms/{month}/{scope}", summary="State the month", dependencies=[require(Permission.FINDING_ANSWER)]
)
def state(
    request: Request,
    sources: SourcesDep,
    access: AccessDep,
    *,
    month: MonthPath,
    scope: ScopePath,
    values: MonthForm,
) -> dict[str, int]:
    """Keep what the form says in the registry, with who and when. A month that is closed takes it with its next revision.

    What the form does not ask for (losses, stocks, uses) stays as it is known.
    """
    sources.enterprise(scope, "scope")
    meter, known = boundary_meter(sources.park.meters_of(scope)), sources.facts()
    try:
        fresh = Stated(values, scope, month, meter, sources.zone, known).facts()
    except FormError as error:
        raise Problem(422, "invalid form", str(error), "values") from error
    except ValidationError as error:
        raise Problem(422, "invalid form", "; ".join(validation_mistakes(error)), "values") from error
    if found := [text for _at, text in mistakes(fresh, known, sources.park)]:
        raise Problem(422, "invalid form", "; ".join(found), "values")
    with RegistryWriter(sources.settings.facts) as registry:
        revision = registry.apply(fresh, access.principal.name, f"form {month}", sources.clock())
    audit(
        request,
        access.principal.name,
        "form.state",
        f"{month}/{scope}",
        outcome="ok",
        registry_revision=revision.number,
    )
    return {"registry_revision": revision.number, "facts": len(fresh)}
