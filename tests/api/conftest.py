"""A park of three enterprises and twelve meters, with the files that the other roles would have written."""

import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.desk import Desk
from api.exchanges import Exchanges
from api.keys import make_key
from api.passwords import hash_password
from api.settings import ApiSettings
from metering.intervals import HOUR_MS, QUARTER_MS, local_month, to_ms
from metering.registry import Park, load_registry
from metering.roles import Role
from storage.journal import Commit, Entry, FrameIndex, GatewayState, NewEvent, Offset, Quarantined
from storage.journal_writer import JournalWriter
from storage.ledger import IntervalRow, LatestRow, NewLedgerEvent, ProgressRow, Results, Snapshot
from storage.ledger_writer import LedgerWriter
from storage.months import MonthRow, MonthStore, digest_of, report_stem
from storage.segment import Record
from storage.users import KeyRow, UserRow, UserStore

NOW_MS = to_ms(datetime.fromisoformat("2026-11-20T14:37:20+08:00"))
NATIONAL_UG_PER_WH = 530_600
PASSWORD = "a long enough phrase"

PARK = """
id = "demo"
name = "示范高新区"
name_en = "Demo High-Tech Park"
grid_scope = "CN-AH"
enterprises = [
  { id = "ent-a", name = "示范精密机械有限公司", name_en = "Demo Precision Machinery", industry = "C34" },
  { id = "ent-b", name = "示范新材料有限公司", name_en = "Demo New Materials", industry = "C30" },
  { id = "ent-c", name = "示范数据服务有限公司", name_en = "Demo Data Services", industry = "I65" },
]
sites = [
  { id = "site-a", enterprise = "ent-a", name = "一号厂区" },
  { id = "site-b", enterprise = "ent-b", name = "二号厂区" },
  { id = "site-c", enterprise = "ent-c", name = "数据楼" },
]
gateways = [{ id = "gw-a", site = "site-a" }, { id = "gw-b", site = "site-b" }, { id = "gw-c", site = "site-c" }]
"""
METERS = [
    # id, gateway, name, profile, roles, parent, mean power in W
    ("a-in", "gw-a", "总进线", "acrel_dtsd1352", "energy_import_total=grid_boundary,energy_export_total=export", "", 620_000),
    ("a-shop1", "gw-a", "一车间", "schneider_iem3000", "energy_import_total=sub_meter", "a-in", 310_000),
    ("a-shop2", "gw-a", "二车间", "eastron_sdm630", "energy_import_total=sub_meter", "a-in", 210_000),
    ("a-pv", "gw-a", "屋顶光伏", "huawei_sun2000", "energy_generation_total=pv_generation", "", 150_000),
    ("a-resold", "gw-a", "转供食堂", "chint_dtsu666", "energy_import_total=resold", "a-in", 40_000),
    ("b-in", "gw-b", "总进线", "acrel_dtsd1352", "energy_import_total=grid_boundary", "", 1_450_000),
    ("b-kiln", "gw-b", "窑炉", "siemens_pac3200", "energy_import_total=sub_meter", "b-in", 980_000),
    ("b-mill", "gw-b", "球磨", "abb_b23", "energy_import_total=sub_meter", "b-in", 330_000),
    ("c-in", "gw-c", "总进线", "acrel_dtsd1352", "energy_import_total=grid_boundary", "", 380_000),
    ("c-room1", "gw-c", "机房一", "schneider_iem3000", "energy_import_total=sub_meter", "c-in", 190_000),
    ("c-room2", "gw-c", "机房二", "schneider_iem3000", "energy_import_total=sub_meter", "c-in", 120_000),
    ("c-new", "gw-c", "备用", "acrel_adw300", "energy_import_total=sub_meter", "c-in", 0),
]  # fmt: skip


def park_text() -> str:
    """The registry as TOML."""
    text = PARK
    for meter, gateway, name, profile, roles, parent, _ in METERS:
        pairs = ", ".join(f'{k} = "{v}"' for k, v in (pair.split("=") for pair in roles.split(",")))
        text += f'[[meters]]\nid = "{meter}"\ngateway = "{gateway}"\nname = "{name}"\nprofile = "{profile}"\n'
        text += f"roles = {{ {pairs} }}\n" + (f'parent = "{parent}"\n' if parent else "")
    return text


def slot_energy_wh(mean_w: int, role: Role, start_ms: int) -> int:
    """Energy of a 15-minute interval: a working day with a lunch dip, or a sunny day, or a night's trickle."""
    hour = ((start_ms + 8 * HOUR_MS) % (24 * HOUR_MS)) / HOUR_MS
    ripple = 1 + 0.06 * math.sin(start_ms / QUARTER_MS * 1.7) + 0.04 * math.sin(start_ms / QUARTER_MS * 0.61)
    if role is Role.EXPORT:
        return 0
    if role is Role.PV_GENERATION:
        shape = max(math.sin((hour - 6.5) / 11 * math.pi), 0.0)
    else:
        work = 1 / (1 + math.exp(-(hour - 7.5) * 2)) * (1 / (1 + math.exp((hour - 19) * 1.5)))
        shape = 0.3 + work - 0.25 * math.exp(-((hour - 12.5) ** 2) / 0.4)
    return round(mean_w / 4 * shape * ripple)


@dataclass(frozen=True)
class ParkFiles:
    """The files of a park, and what is in them."""

    folder: Path
    park: Park

    def settings(self, **more: Any) -> ApiSettings:
        at = self.folder
        return ApiSettings(
            park=at / "park.toml", ledger=at / "ledger.db", journal=at / "journal.db", months=at / "months.db",
            reports=at / "reports", users=at / "users.db", audit=at / "audit.db",
            facts=at / "registry.db", **{"burst": 1e6} | more,
        )  # fmt: skip

    def key(self, *grants: tuple[str, str], expires_ms: int = NOW_MS + 1000 * HOUR_MS) -> str:
        """A new machine key with (role, tenant) grants, as `tanyun key add` makes it."""
        id_, text, digest = make_key()
        with UserStore(self.folder / "users.db") as store:
            store.add_key(KeyRow(id_, "test", digest, (), NOW_MS, expires_ms, None, grants))
        return text

    def user(self, name: str, *grants: tuple[str, str], password: str = PASSWORD) -> str:
        """A new user, as `tanyun user add` makes it; returns the name."""
        with UserStore(self.folder / "users.db") as store:
            store.add_user(UserRow(name, hash_password(password), None, False, NOW_MS, grants))
        return name

    def add_power(self, meter: str, power_w: float, now_ms: int = NOW_MS) -> None:
        """What the stream does when a reading arrives."""
        writer = LedgerWriter(self.folder / "ledger.db")
        found = writer.snapshot()
        assert found is not None
        latest = [LatestRow(meter, "power_active", now_ms, power_w, now_ms)]
        writer.commit(Snapshot("j", Offset(2, 0), found.change_seq + 1, b""), Results([], latest, [], []))
        writer.close()

    def energy_wh(self, meter: str, reading_type: str, start_ms: int, end_ms: int) -> int:
        """What the ledger must sum up to: a slow twin over the same shape."""
        mean = next(row[6] for row in METERS if row[0] == meter)
        found = self.park.meter(meter)
        assert found is not None
        role, starts = found.roles[reading_type], range(start_ms, min(end_ms, NOW_MS), QUARTER_MS)
        return sum(
            slot_energy_wh(mean, role, s) if s + QUARTER_MS <= NOW_MS else slot_energy_wh(mean, role, s) // 2
            for s in starts
        )


def interval_rows(
    meter: str, reading_type: str, role: Role, mean_w: int, start_ms: int, now_ms: int
) -> list[IntervalRow]:
    """All intervals up to now, the last one running, half done."""
    rows, position = [], 1_000_000_000
    factor_id = "CN-2023-average" if role is not Role.PV_GENERATION else "zero-self-generated-nonfossil"
    for start in range(start_ms, now_ms, QUARTER_MS):
        closed = start + QUARTER_MS <= now_ms
        energy = slot_energy_wh(mean_w, role, start) if closed else slot_energy_wh(mean_w, role, start) // 2
        factor = 0 if role is Role.PV_GENERATION else NATIONAL_UG_PER_WH
        rows.append(IntervalRow(
            meter, reading_type, start, start + QUARTER_MS, 0, 1, position, position + energy, energy * factor,
            factor_id, QUARTER_MS if closed else now_ms - start, closed, 0, closed,
        ))  # fmt: skip
        position += energy
    return rows


def ledger_results(park: Park, now_ms: int) -> Results:
    """This month so far; `c-new` has never been read, `c-room2` is pending, `b-mill` silent."""
    results, start_ms = Results([], [], [], []), local_month("2026-11", park.tz).start_ms
    for meter, *_, mean_w in METERS:
        found = park.meter(meter)
        if found is None or mean_w == 0:
            continue
        read_ms = now_ms - (HOUR_MS if meter == "b-mill" else 4_000)
        for reading_type, role in found.roles.items():
            rows = interval_rows(meter, reading_type, role, mean_w, start_ms, now_ms)
            results.intervals += rows
            results.latest.append(
                LatestRow(meter, reading_type, read_ms, float(rows[-1].closing), read_ms + 300)
            )
            results.progress.append(
                ProgressRow(meter, reading_type, read_ms, rows[-1].closing, meter == "c-room2")
            )
        power = slot_energy_wh(mean_w, next(iter(found.roles.values())), now_ms) * 4.0
        results.latest.append(LatestRow(meter, "power_active", read_ms, power, read_ms + 300))
    detail = {"before": 5, "after": 3}
    results.events.append(
        NewLedgerEvent(now_ms - HOUR_MS, "c-room2", "energy_import_total", "total_fell", detail)
    )
    return results


def write_ledger(path: Path, park: Park, now_ms: int) -> None:
    writer = LedgerWriter(path)
    writer.commit(Snapshot("j", Offset(1, 0), 42, b""), ledger_results(park, now_ms))
    writer.close()


def write_journal(path: Path, now_ms: int) -> None:
    """Two gateways heard, one of them gone; one refused message."""
    writer = JournalWriter(path)
    record = Record("spBv1.0/demo/DDATA/gw-a/a-in", b"\x01\x02", now_ms - 3_700)
    frame = FrameIndex("gw-a", "a-in", 117_649_850_526_317_627, 7, now_ms - 4_000, b"d" * 32)
    late = FrameIndex("gw-b", "b-in", 1, 5, now_ms - HOUR_MS, b"e" * 32)
    writer.commit(
        Commit(
            entries=[Entry(record, frame), Entry(record, late)],
            quarantined=[
                Quarantined(
                    Record("spBv1.0/demo/DDATA/gw-a/x", b"\xff\x00", now_ms), "gw-a", "not_sparkplug", "bad"
                )
            ],
            events=[NewEvent(now_ms - HOUR_MS, "gw-b", "gateway_lost", {"by": "will"})],
            gateways=[
                GatewayState(
                    "gw-a", online=True, since_ms=now_ms - 5 * HOUR_MS, last_received_ms=now_ms - 3_700
                ),
                GatewayState(
                    "gw-b", online=False, since_ms=now_ms - HOUR_MS, last_received_ms=now_ms - HOUR_MS
                ),
                GatewayState(
                    "gw-c", online=True, since_ms=now_ms - 9 * HOUR_MS, last_received_ms=now_ms - 3_700
                ),
            ],
        ),
        now_ms,
    )
    writer.close()


def month_row(
    kind: str, scope: str, name: tuple[str, str], outcome: str, energy_wh: int, revision: int = 1
) -> MonthRow:
    """A closed month with what the API reads of a month document."""
    uses = [("enterprise", "全国平均（企业口径）", "National average (enterprise)", NATIONAL_UG_PER_WH)]
    uses += [("park", "省级平均（园区口径）", "Provincial average (park)", 647_500)]
    document = {
        "schema": "tanyun-month/1",
        "scope": {"kind": kind, "id": scope, "name": name[0], "name_en": name[1]},
        "energy": {"purchased_wh": str(energy_wh)},
        "emissions": [
            {
                "use": use,
                "primary": use == kind,
                "label_zh": zh,
                "label_en": en,
                "emission_ug": str(energy_wh * factor),
            }
            for use, zh, en, factor in uses
        ],
        "checks": [
            {"id": "V01", "outcome": "PASS"},
            {"id": "V06", "outcome": "PASS" if outcome == "PASS" else "FINDING"},
        ],
    }
    body = json.dumps(document, ensure_ascii=False, sort_keys=True).encode()
    reason = "corrected CT" if revision > 1 else None
    return MonthRow(
        "2026-10", kind, scope, revision, outcome, NOW_MS - HOUR_MS, reason, body, digest_of(body)
    )


def write_months(folder: Path, park: Park) -> None:
    outcomes = {"ent-a": "PASS", "ent-b": "PASS_WITH_FINDINGS", "ent-c": "INSUFFICIENT_DATA"}
    energies = {"ent-a": 283_412_560, "ent-b": 702_118_040, "ent-c": 174_009_330}
    rows = [
        month_row("enterprise", e.id, (e.name, e.name_en), outcomes[e.id], energies[e.id])
        for e in park.enterprises
    ]
    rows.append(
        month_row(
            "enterprise", "ent-a", (park.enterprises[0].name, ""), "PASS", energies["ent-a"] + 1, revision=2
        )
    )
    rows.append(month_row("park", park.id, (park.name, park.name_en), "PASS_WITH_FINDINGS", 1_159_539_930))
    with MonthStore(folder / "months.db") as store:
        store.add(rows)
    for row in rows:
        for suffix in ("pdf", "xlsx", "json", "csv.zip"):
            (folder / "reports" / f"{report_stem(row)}.{suffix}").write_bytes(row.document)


def write_park(folder: Path, now_ms: int = NOW_MS) -> ParkFiles:
    """All files of the park in `folder`."""
    (folder / "reports").mkdir()
    (folder / "park.toml").write_text(park_text(), encoding="utf-8")
    park = load_registry(folder / "park.toml")
    write_ledger(folder / "ledger.db", park, now_ms)
    write_journal(folder / "journal.db", now_ms)
    write_months(folder, park)
    return ParkFiles(folder, park)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> ParkFiles:
    """A park at 14:37 on 20 November 2026; tests only read it."""
    return write_park(tmp_path_factory.mktemp("park"))


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def serve(files: ParkFiles) -> Serve:
    """Serves the API of a park on a free port, for as long as the context lasts."""

    def start(
        park: ParkFiles | None = None,
        clock: Callable[[], int] = lambda: NOW_MS,
        desk: Desk | None = None,
        exchanges: Exchanges | None = None,
        **settings: Any,
    ) -> AbstractContextManager[str]:
        app = create_app((park or files).settings(**settings), clock, desk, exchanges=exchanges)
        return _served(app)

    return start


@pytest.fixture(scope="session")
def serve_app() -> Callable[[FastAPI], AbstractContextManager[str]]:
    """Serves any application on a free port."""
    return _served


@pytest.fixture(scope="session")
def client(serve: Serve, bearer: dict[str, str]) -> Iterator[httpx.Client]:
    """A machine that may do what an operator of the park may."""
    with serve() as url, httpx.Client(base_url=url, headers=bearer, timeout=60) as found:
        yield found


@pytest.fixture(scope="session")
def bearer(files: ParkFiles) -> dict[str, str]:
    """The header of that machine."""
    return {"Authorization": f"Bearer {files.key(('operator', '*'))}"}


@pytest.fixture
def new_park(tmp_path: Path) -> Callable[[], ParkFiles]:
    """Makes a park whose files a test may change."""
    return lambda: write_park(tmp_path)


@pytest.fixture
def clients(
    new_park: Callable[[], ParkFiles], serve: Serve
) -> Iterator[tuple[ParkFiles, Callable[..., httpx.Client]]]:
    """A park of the test's own, and clients with a key for some roles."""
    park = new_park()
    with ExitStack() as stack:
        url = stack.enter_context(serve(park))

        def client(*grants: tuple[str, str]) -> httpx.Client:
            headers = {"Authorization": f"Bearer {park.key(*grants)}"}
            return stack.enter_context(httpx.Client(base_url=f"{url}/api/v1", headers=headers))

        yield park, client


@pytest.fixture(scope="session")
def now_ms() -> int:
    """The moment the test park stands at."""
    return NOW_MS
