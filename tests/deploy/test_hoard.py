"""The search for secrets finds them, in whatever form and wherever they are packed: else the tests that use it would prove nothing."""

import base64
import io
import json
import sqlite3
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.deploy.hoard import Hoard

SECRET = 'Zß/+pl ain-4567"x'


@pytest.fixture
def hoard() -> Hoard:
    found = Hoard()
    found.add("it", SECRET)
    return found


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", content)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        SECRET.encode(), SECRET.encode().hex().encode(), json.dumps({"a": SECRET}).encode(), quote(SECRET, safe="").encode(),
        *(base64.b64encode(b"user:"[:n] + SECRET.encode() + b"tail") for n in range(5)),
        zipped(zipped(b"x" * 999 + SECRET.encode())),
        b"%PDF-1.7\n1 0 obj\nstream\n" + zlib.compress(b"(" + SECRET.encode() + b") Tj") + b"\nendstream",
    ],
)  # fmt: skip
def test_a_secret_is_found_in_every_form(hoard: Hoard, content: bytes) -> None:
    assert hoard.found_in(b"before " * (content[:1] not in b"P%") + content) == {"it"}
    assert hoard.found_in(b"nothing of that kind") == set()


def test_rows_that_are_still_in_the_write_ahead_log_are_searched(hoard: Hoard, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "a.db")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE t(a)")
    db.execute("INSERT INTO t VALUES(?)", (SECRET,))
    db.commit()
    wrong, read = hoard.search(tmp_path, {})
    db.close()
    assert "it stands in a.db-wal" in wrong
    assert read >= 2


def test_a_file_of_its_own_may_hold_it_when_nobody_else_can_read_it(hoard: Hoard, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    file = tmp_path / "secrets" / "password"
    file.write_text(SECRET, encoding="utf-8")
    file.chmod(0o600)
    assert hoard.search(tmp_path, {"secrets/": {"it"}}) == ([], 1)
    assert hoard.search(tmp_path, {"secrets/": {"another"}})[0] == ["it stands in secrets/password"]
    file.chmod(0o644)
    [wrong] = hoard.search(tmp_path, {"secrets/": {"it"}})[0]
    assert wrong.endswith("others can read it")
    file.parent.chmod(0o700)
    assert hoard.search(tmp_path, {"secrets/": {"*"}})[0] == []
