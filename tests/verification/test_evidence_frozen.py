"""A pack of a month in which a meter was frozen: the mark is the ledger's word, the energy under it is recomputed as ever."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from metering.intervals import HOUR_MS, QUARTER_MS, local_month
from metering.quality import Quality
from metering.registry import parse_registry
from storage.ledger import LedgerReader, NewLedgerEvent, Results
from storage.ledger_writer import LedgerWriter
from tests.verification.conftest import CLOSED_AT_MS, MONTH, PARK
from tests.verification.test_evidence import Packed, Works, forged, recompute, replaced
from verification.evidence import manifest as names
from verification.evidence.verify import verify_pack

KEY = "m-two", "energy_import_total"


class Frozen(Works):
    """Marked as the stream marks it, six hours after the month's start and for good at its end."""

    def _ledger(self) -> None:
        super()._ledger()
        begins, ends = self.month.start_ms + 6 * HOUR_MS, self.month.end_ms - 2 * HOUR_MS
        with LedgerReader(self.folder / "ledger.sqlite") as ledger:
            rows = ledger.intervals(*KEY, begins, begins + 2 * HOUR_MS + QUARTER_MS)
            rows += ledger.intervals(*KEY, ends, 1 << 62)
        detail = {"until_t_ms": begins + HOUR_MS, "readings": 4, "values": {"voltage_l1": 230.0}}
        told = [
            NewLedgerEvent(begins, *KEY, "frozen", detail, begins + HOUR_MS),
            NewLedgerEvent(begins + 2 * HOUR_MS, *KEY, "frozen_ended", {}, begins + 3 * HOUR_MS),
            NewLedgerEvent(ends, *KEY, "frozen", detail, ends + HOUR_MS),
        ]
        marked = [msgspec.structs.replace(row, quality=Quality.QUESTIONABLE.value) for row in rows]
        writer = LedgerWriter(self.folder / "ledger.sqlite")
        stored = writer.snapshot()
        assert stored is not None
        reached = msgspec.structs.replace(stored, change_seq=stored.change_seq + 1)
        writer.commit(reached, Results(intervals=marked, events=told))
        writer.close()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    works = Frozen(tmp_path_factory.mktemp("frozen"), park, local_month(MONTH, park.tz))
    works.build()
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return Packed(works, works.close(at_ms=CLOSED_AT_MS), key)


def test_the_pack_of_a_frozen_meter_verifies_equal_by_both_recomputations(
    packed: Packed, tmp_path: Path
) -> None:
    pack = packed.write(tmp_path, "guangdian")
    assert verify_pack(pack, packed.key.public_key()).difference is None
    assert recompute(pack, tmp_path).returncode == 0


def test_a_mark_without_its_event_is_a_difference(packed: Packed, tmp_path: Path) -> None:
    pack = packed.write(tmp_path, "guangdian")
    edited = forged(pack, tmp_path, packed.key, {names.EVENTS: replaced(",frozen,", ",late_reading,")})
    difference = verify_pack(edited, packed.key.public_key()).difference
    assert difference is not None
    assert difference.place.endswith("quality")
    assert (difference.said, difference.found) == ("3", "2")
