"""The post office of a whole server: a verified month and the day's head reach a real HTTPS server, once."""

from pathlib import Path

from storage.audit import AuditLog
from storage.deliveries import DeliveryStore
from tanyun.config import ServerConfig
from tanyun.desk import MonthDesk, note_closed, subject_of
from tanyun.post import PostOffice
from tests.verification.conftest import CLOSED_AT_MS, Plant
from tests.verification.delivery.conftest import Certificate, Web
from verification.evidence import signing
from verification.evidence.head import read
from verification.lifecycle import Action, Wish


def test_a_verified_month_and_the_days_head_are_delivered_once(
    plant: Plant, web: Web, certificate: Certificate, tmp_path: Path
) -> None:
    plant.build()
    rows = plant.close()
    for name in ("journal", "ledger", "months"):
        (tmp_path / f"{name}.db").symlink_to(tmp_path / f"{name}.sqlite")
    signing.generate(tmp_path / "key.pem")
    (tmp_path / "delivery.toml").write_text(
        f'signing_key = "key.pem"\n[[target]]\nkind = "https"\nname = "regulator"\nurl = "{web.url}"\nca_file = "{certificate.cert}"\n'
        'content = ["json", "head"]\nscopes = ["guangdian"]\nhour = 0\n',
        encoding="utf-8",
    )
    config = ServerConfig.model_validate(
        {
            "registry": "park.toml",
            "data": tmp_path,
            "reports": tmp_path / "r",
            "broker": {"host": "127.0.0.1", "user": "u", "password_file": "p"},
            "delivery": tmp_path / "delivery.toml",
        }
    )
    note_closed(config, rows, "li", CLOSED_AT_MS)
    office = PostOffice.of(config, plant.park, lambda: CLOSED_AT_MS + 1)
    first = [(o.parcel.title, o.state) for o in office.run()]
    assert [state for _title, state in first] == ["receipted"]  # the head: no month is verified yet
    desk: MonthDesk = office.desk
    subject = next(subject_of(row) for row in rows if row.scope_id == "guangdian")
    desk.act(subject, "send", actor="li", role="operator")
    life = desk.life(subject)
    assert life is not None
    for check in life.unanswered:
        desk.act(subject, "answer", actor="li", role="operator", reason="known", check=check)
    desk.act_on([subject], Wish(Action.APPROVE, "wang", "verifier", CLOSED_AT_MS))
    assert [o.state for o in office.run(dry=True)] == ["dry", "done"]
    assert [o.state for o in office.run()] == ["receipted", "done"]
    assert [o.state for o in office.run()] == ["done", "done"]
    assert len(web.requests) == 2
    with DeliveryStore(config.deliveries, writable=False) as store:
        ((day, signed),) = store.heads()
        assert (day, read(signed).park) == ("2026-11-02", "demo")
        assert len(store.parcels()) == 2
    with AuditLog(config.audit) as log:
        assert [e.action for e in log.entries()] == ["delivery.attempt", "delivery.attempt"]
