"""What the API answers about declared factors."""

from pydantic import Field

from api.models import Exact, Out


class SeriesOut(Out):
    """A declared factor series, whole."""

    id: str
    meter: str = Field(description="Empty: all meters of the enterprise that have no series of their own.")
    basis: str = Field(description="contract or grid_intensity.")
    label: str
    source: str
    document_sha256: str
    declared_by: str
    verified: str = Field(default="declared", description="Always `declared`: the enterprise says so.")
    start: str
    end: str
    step_minutes: int


class DeclaredPartOut(Out):
    """What one declared factor makes of an interval."""

    series: str = Field(description="Id of the series; empty where nothing is declared.")
    factor_kg_per_kwh: str = Field(description="As declared; empty where nothing is declared.")
    factor_ug_per_wh: str | None = Field(description="Exactly, as an integer or a fraction.")
    energy_wh: Exact
    estimated_wh: Exact = Field(
        description="Of it, energy of which the place in time is estimated or in question."
    )
    emission_ug: Exact | None = Field(description="null where nothing is declared; never 0 instead.")


class DeclaredRow(Out):
    """An interval with one part per declared factor."""

    start: str
    end: str
    start_ms: int
    end_ms: int
    energy_wh: Exact
    emission_ug: Exact | None = Field(description="Sum of the parts; null when one of them has none.")
    parts: list[DeclaredPartOut]
    closed: bool = Field(description="false: an interval of it still runs.")
    missing_meters: list[str] = Field(
        description="Meters without a reading here: their share is not in the sums."
    )


class DeclaredOut(Out):
    """Electricity by declared factors. Market-based; it stands beside the location-based figures and replaces none."""

    by: str
    id: str
    name: str
    size: str
    zone: str
    start: str
    end: str
    series: list[SeriesOut]
    rows: list[DeclaredRow]
