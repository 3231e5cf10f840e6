"""The PAdES signature: appended to the exact bytes of the report, and broken by any changed byte."""

import datetime as dt
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from storage.months import MonthRow
from verification.formats import pdf
from verification.formats.seal import SealError, load_signer, make_key, seal

NOW = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seal") / "seal.p12"
    make_key(path, b"secret", "示范高新区", dt.datetime.now(dt.UTC))
    return path


def intact(data: bytes, key: Path) -> bool:
    signer = load_signer(key, b"secret")
    trusted = ValidationContext(trust_roots=[signer.signing_cert])
    (found,) = PdfFileReader(io.BytesIO(data)).embedded_signatures
    return bool(validate_pdf_signature(found, trusted).bottom_line)


def test_the_unsigned_report_is_an_exact_prefix_of_the_signed_one(
    month_rows: list[MonthRow], key: Path
) -> None:
    plain = pdf.render(month_rows[0])
    sealed = seal(plain, load_signer(key, b"secret"))
    assert sealed.startswith(plain)
    assert len(sealed) > len(plain)
    assert intact(sealed, key)


def test_a_changed_byte_breaks_the_signature(month_rows: list[MonthRow], key: Path) -> None:
    sealed = bytearray(seal(pdf.render(month_rows[0]), load_signer(key, b"secret")))
    at = sealed.index(b"/MediaBox") + len("/MediaBox[0 0 5")
    sealed[at] ^= 1
    assert not intact(bytes(sealed), key)


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="poppler-utils is not installed")
def test_another_reader_finds_the_signature_valid_too(
    month_rows: list[MonthRow], key: Path, tmp_path: Path
) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(seal(pdf.render(month_rows[0]), load_signer(key, b"secret")))
    said = subprocess.run(["pdfsig", str(path)], capture_output=True, text=True, check=False).stdout
    assert "Signature is Valid" in said


def test_a_key_is_never_overwritten_and_needs_its_password(key: Path) -> None:
    with pytest.raises(SealError, match="never overwritten"):
        make_key(key, b"other", "x", NOW)
    with pytest.raises(SealError, match="password"):
        load_signer(key, b"wrong")
    assert key.stat().st_mode & 0o077 == 0
