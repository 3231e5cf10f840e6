"""The declaration of an exchange for the page: only of a meter that waits, every reason at once, and a file that cannot be written."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from api.desk import Refused
from api.exchanges import ExchangeForm
from metering.intervals import local_month, to_local
from metering.registry import parse_registry
from storage.attachments import keep
from tanyun import exchanges
from tanyun.exchanges import ExchangeDesk
from tests.api.test_months_page import park_file
from tests.verification.conftest import CLOSED_AT_MS, MONTH, PARK, Plant

GRID = ("energy_import_total", "energy_export_total")


@pytest.fixture
def desk(tmp_path: Path) -> ExchangeDesk:
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    plant = Plant(tmp_path, park, local_month(MONTH, park.tz), pending={"m-grid"})
    plant.build()
    (tmp_path / "park.toml").write_text(park_file(), encoding="utf-8")
    return ExchangeDesk(
        tmp_path / "park.toml", tmp_path / "ledger.sqlite", tmp_path / "journal.sqlite", tmp_path / "files", lambda: CLOSED_AT_MS
    )  # fmt: skip


def form(desk: ExchangeDesk, **more: object) -> ExchangeForm:
    said = {name: Decimal("1.5") for name in GRID}
    photo = keep(desk.attachments, b"\xff\xd8\xff both")
    found: dict[str, object] = {
        "at": datetime.fromisoformat("2026-11-01T03:07"), "closing": said, "opening": said, "reason": "dead", "photo_sha256": photo,
        **more,
    }  # fmt: skip
    return ExchangeForm.model_validate(found)


def refused(desk: ExchangeDesk, meter: str, said: ExchangeForm) -> tuple[str, ...]:
    before = desk.registry.read_bytes()
    with pytest.raises(Refused) as raised:
        desk.declare(meter, said)
    assert desk.registry.read_bytes() == before
    return raised.value.reasons


def test_a_waiting_meter_is_told_with_its_totals_and_units(desk: ExchangeDesk) -> None:
    (waiting,) = desk.pending()
    assert (waiting.meter, waiting.enterprise, waiting.declared) == ("m-grid", "jingmi", False)
    assert {(total.reading_type, total.unit) for total in waiting.totals} == {(name, "kWh") for name in GRID}


def test_every_reason_is_told_at_once(desk: ExchangeDesk) -> None:
    assert len(refused(desk, "m-grid", ExchangeForm())) == 4
    assert len(refused(desk, "m-line", form(desk))) == 1  # it does not wait


@pytest.mark.parametrize(
    "more",
    [
        {"at": datetime.fromisoformat("2026-10-31T23:59")},
        {"at": datetime.fromisoformat("2026-11-01T03:07+08:00")},
        {"closing": {"energy_import_total": Decimal(1)}},
        {"reason": " "},
        {"photo_sha256": "ab" * 32},
    ],
)
def test_what_is_missing_or_cannot_be_is_refused(desk: ExchangeDesk, more: dict[str, object]) -> None:
    assert len(refused(desk, "m-grid", form(desk, **more))) == 1


def test_the_future_is_refused(desk: ExchangeDesk) -> None:
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    later = to_local(CLOSED_AT_MS, park.tz).replace(tzinfo=None) + timedelta(seconds=1)
    assert len(refused(desk, "m-grid", form(desk, at=later))) == 1


def test_a_file_that_may_not_be_written_is_told_with_what_to_do(
    desk: ExchangeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_given: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(exchanges, "replace", forbidden)
    (reason,) = refused(desk, "m-grid", form(desk))
    assert "tanyun meters exchange" in reason
