"""Ways from one tenant to another that no table of routes shows: through digests, reasons, refusals, and by filling the disk."""

import hashlib
import re
import shutil
from collections.abc import Iterator

import httpx
import pytest

from api import uploads
from storage.lifecycle import Subject
from tanyun.desk import RESTATEMENT
from tests.api.conftest import ParkFiles
from tests.api.test_months_page import SCAN, Served, served
from tests.verification.conftest import CLOSED_AT_MS, MONTH
from verification.lifecycle import Action, Wish

__all__ = ["served"]
"""The fixture of the pages' tests."""
OWN, OTHER = "guangdian", "jingmi"


@pytest.fixture
def tenant(served: Served) -> Iterator[httpx.Client]:
    """A machine of one enterprise, with every role that an enterprise can give it."""
    key = ParkFiles(served.folder, served.park).key(("enterprise", OWN), ("operator", OWN), ("verifier", OWN))
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers) as client:
        yield client


def answering(served: Served, digest: str) -> dict[str, str]:
    """An answer to a finding of the own month, with a file."""
    newest = next(s for s in served.desk.board("2026-11-03") if s.scope_id == OWN)
    assert newest.month == MONTH
    return {"reason": "见附件", "check": "V06", "file_sha256": digest, "file_name": "a.pdf"}


def test_a_file_of_another_is_not_to_be_had_by_naming_its_digest(
    served: Served, tenant: httpx.Client
) -> None:
    foreign = served.desk.keep(SCAN + b" of another enterprise")
    path = f"/months/{MONTH}/enterprise/{OWN}"
    for digest in (foreign, hashlib.sha256(b"nobody has it").hexdigest()):
        answer = tenant.post(f"{path}/answer", json=answering(served, digest))
        assert answer.status_code == 422, answer.text
        assert answer.json()["title"] == "unknown file"
        assert tenant.get(f"{path}/files/{digest}").status_code == 404
    # Who shows the bytes may name them.
    assert tenant.post("/uploads/files", content=SCAN + b" of another enterprise").status_code == 200
    answer = tenant.post(f"{path}/answer", json=answering(served, foreign))
    assert answer.status_code in {200, 409}, answer.text


def test_a_reason_does_not_join_a_month_to_a_restatement_of_others(
    served: Served, tenant: httpx.Client
) -> None:
    cause = "0123456789abcdef"
    newest = next(s for s in served.desk.board("2026-11-03") if s.scope_id == OTHER)
    others = [Subject(MONTH, "enterprise", OTHER, newest.revision)]
    served.desk.act_on(others, Wish(Action.SEND, "li", "operator", CLOSED_AT_MS, f"{RESTATEMENT}{cause}"))
    path = f"/months/{MONTH}/enterprise/{OWN}/send"
    answer = tenant.post(path, json={"reason": f"{RESTATEMENT}{cause}"})
    assert answer.status_code == 409
    assert {subject.scope_id for subject in served.desk.restatement(cause)} == {OTHER}


def test_a_refused_fact_tells_nothing_of_another_enterprise(served: Served, tenant: httpx.Client) -> None:
    operator = {"Authorization": f"Bearer {ParkFiles(served.folder, served.park).key(('operator', '*'))}"}
    batch = {
        "kind": "certificate", "first": "GEC0001", "last": "GEC0010", "production_month": "2026-09", "status": "retired",
        "month": MONTH,
    }  # fmt: skip
    body = {"why": "2026", "facts": [{**batch, "enterprise": OTHER}]}
    assert httpx.put(f"{served.url}/api/v1/facts", json=body, headers=operator).status_code == 200
    probe = {**batch, "enterprise": OWN, "first": "GEC0010", "last": "GEC0010", "month": "2026-11"}
    answer = tenant.put("/facts", json={"why": "2026", "facts": [probe]})
    assert answer.status_code == 422
    assert not re.search(f"{OTHER}|GEC0001|{MONTH}", answer.text), answer.text


def test_nobody_fills_the_disk_with_files(
    served: Served, tenant: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [tenant.post("/uploads/files", content=SCAN + bytes([i])) for i in range(uploads.BURST + 1)]
    assert [answer.status_code for answer in answers] == [200] * uploads.BURST + [429]
    assert int(answers[-1].headers["retry-after"]) > 60
    usage = shutil.disk_usage(served.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=uploads.SPARE_BYTES - 1))
    key = ParkFiles(served.folder, served.park).key(("enterprise", OWN))
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{served.url}/api/v1/uploads/files", content=SCAN, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (503, "disk nearly full")
