"""From the visit to the registry: the sheet that a gateway writes, its PDF, and the meter in park.toml."""

import asyncio
import hashlib
import io
import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from pypdf import PdfReader

from edge_agent.commission.sheet import Sheet, SheetError, decode_sheet, encode_sheet
from edge_agent.simulator.config import parse_config
from edge_agent.simulator.meters import build_meters
from edge_agent.simulator.server import ModbusServers
from metering.config import ConfigError
from metering.registry import load_registry
from tanyun.commands.group import root
from tanyun.sheets import entry
from tanyun.sheets.pdf import render

NOON_MS = 1_793_592_000_000 + 4 * 3_600_000
REGISTRY = """\
# The park. 注释 stays.
id = "park"
name = "园区"
grid_scope = "CN-AH"

[[enterprises]]
id = "e"
name = "企业"

[[sites]]
id = "s"
enterprise = "e"
name = "厂区"

[[gateways]]
id = "gw"
site = "s"

[[meters]]   # the boundary
id = "gate"
gateway = "gw"
roles = { energy_import_total = "grid_boundary" }   # as agreed
ct = "75/5"
serial = "777"

# what stands at the end
"""


def tanyun(*args: str) -> Result:
    return CliRunner().invoke(root, ["--lang", "en", *args], catch_exceptions=False)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A server's configuration, its registry beside it."""
    (tmp_path / "park.toml").write_text(REGISTRY, encoding="utf-8")
    file = tmp_path / "server.toml"
    file.write_text(
        'registry = "park.toml"\ndata = "data"\nreports = "reports"\n'
        '[broker]\nport = 1883\nuser = "host"\npassword_file = "none"\n',
        encoding="utf-8",
    )
    return file


def commissioned(folder: Path, *words: str, load_w: int = 200_000) -> tuple[Result, Path]:
    """`tanyun edge commission` at a simulated meter behind a CT of 80; the sheet that it wrote."""
    config = parse_config(
        {
            "seed": "s",
            "servers": [{"gateway": "gw", "port": 0}],
            "meters": [
                {"id": "m", "gateway": "gw", "unit": 1, "profile": "acrel_dtsd1352", "ct": 80,
                 "load": {"kind": "factory", "rated_w": load_w}, "initial": {"energy_import_total": 1_234_567_000}},
            ],
        }
    )  # fmt: skip
    edge, target = folder / "edge.toml", folder / "sheet.json"

    async def visit() -> Result:
        async with ModbusServers(config.servers, build_meters(config).values(), lambda: NOON_MS) as servers:
            edge.write_text(
                f"""
park = "park"
gateway = "gw"
broker = {{port = 1, user = "gw", password_file = "none"}}
outbox = {{path = "outbox.db"}}
buses = [{{id = "line", host = "127.0.0.1", port = {servers.ports["gw"]}}}]
meters = [{{id = "feeder", bus = "line", unit = 1, profile = "acrel_dtsd1352"}}]
""",
                encoding="utf-8",
            )
            fixed = ("edge", "commission", "feeder", "--seconds", "1", "-c", str(edge), "-o", str(target))
            return await asyncio.to_thread(tanyun, *fixed, *words)

    return asyncio.run(visit()), target


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "plate.jpg"
    file.write_bytes(b"\xff\xd8 a photo")
    return file


def current_of(folder: Path) -> float:
    """What the meter shows on l1 at noon, in A."""
    folder.mkdir()
    _said, target = commissioned(folder)
    row = next(
        item for item in decode_sheet(target.read_bytes()).registers if item.reading_type == "current_l1"
    )
    assert row.value is not None
    return row.value


@pytest.fixture
def proven(tmp_path: Path, photo: Path) -> Path:
    """A sheet with everything that proves the ratio."""
    clamp = current_of(tmp_path / "before") * 80
    said, target = commissioned(
        tmp_path, "--ct", "400/5", "--clamp-a", f"{clamp * 1.01:.2f}", "--photo", str(photo), "--serial", "20250817",
        "--role", "energy_import_total=sub_meter", "--parent", "gate", "--name", "馈线一", "--installer", "李伟",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "变比已证实 / ratio proven" in said.output
    return target


def pdf_text(data: bytes) -> str:
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(render(data))).pages)


def test_a_sheet_says_where_what_how_and_by_whom(proven: Path, photo: Path) -> None:
    sheet = json.loads(proven.read_text(encoding="utf-8"))
    assert (sheet["park"], sheet["gateway"], sheet["meter"], sheet["installer"]) == (
        "park",
        "gw",
        "feeder",
        "李伟",
    )
    assert sheet["line"]["kind"] == "tcp"
    assert sheet["line"]["unit"] == 1
    assert sheet["model"]["profile"] == "acrel_dtsd1352"
    assert sheet["model"]["serial"] == "20250817"
    total = next(row for row in sheet["registers"] if row["reading_type"] == "energy_import_total")
    assert int("".join(total["words"]), 16) == total["raw"]
    assert sheet["verdict"] == "fits"
    assert {"voltage", "energy_rate", "power_within_ui"} <= {check["id"] for check in sheet["checks"]}
    assert sheet["proof"]["photo"] == {
        "name": "plate.jpg",
        "sha256": hashlib.sha256(photo.read_bytes()).hexdigest(),
    }
    assert sheet["proof"]["comparisons"][0]["kind"] == "clamp"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no ratio was entered"),
        (("--ct", "400/5"), "nothing was read elsewhere"),
        (("--ct", "400/5", "--utility-kw", "1"), "what was read elsewhere is not"),
    ],
)
def test_without_proof_the_sheet_and_its_pdf_say_so_in_both_languages(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done, target = commissioned(tmp_path, *words)
    assert said in done.output
    statement = decode_sheet(target.read_bytes()).ratio_statement
    contradicted = "--utility-kw" in words
    assert statement == ("变比不符 / ratio contradicted" if contradicted else "变比未证实 / ratio unproven")
    assert done.exit_code == int(contradicted)
    assert statement.partition(" / ")[0] in pdf_text(target.read_bytes())


def test_a_sheet_is_never_overwritten(tmp_path: Path, proven: Path) -> None:
    before = proven.read_bytes()
    said, _target = commissioned(tmp_path)
    assert (said.exit_code, "never overwritten" in said.output) == (1, True)
    assert proven.read_bytes() == before


def test_the_pdf_has_both_languages_the_words_and_the_files_digest(proven: Path) -> None:
    data = proven.read_bytes()
    text = pdf_text(data)
    for part in (
        "电表调试单",
        "Commissioning sheet",
        "馈线一",
        "20250817",
        "变比已证实",
        "voltages are near nominal",
        "相电压",
    ):
        assert part in text, part
    assert hashlib.sha256(data).hexdigest()[:32] in text.replace("\n", "")
    total = next(row for row in decode_sheet(data).registers if row.reading_type == "energy_import_total")
    assert " ".join(total.words) in text
    assert render(data) == render(data)


def test_the_pdf_command_writes_beside_the_sheet(proven: Path) -> None:
    said = tanyun("meters", "sheet", str(proven))
    assert said.exit_code == 0, said.output
    assert proven.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_a_sheet_becomes_a_meter_and_the_rest_of_the_registry_stays_byte_for_byte(
    server: Path, proven: Path
) -> None:
    file = server.parent / "park.toml"
    file.chmod(0o640)
    said = tanyun("meters", "add", str(proven), "--yes", "-c", str(server))
    assert said.exit_code == 0, said.output
    assert '+id = "feeder"' in said.output
    text = file.read_text(encoding="utf-8")
    assert text.startswith(REGISTRY.rstrip("\n").rpartition("\n#")[0])
    assert "# what stands at the end" in text
    meter = load_registry(file).meter("feeder")
    assert meter is not None
    assert (float(meter.ct), meter.serial, meter.parent, meter.name) == (80, "20250817", "gate", "馈线一")
    assert meter.ratio_proof is not None
    assert hashlib.sha256(proven.read_bytes()).hexdigest() in meter.ratio_proof
    assert meter.ratio_proof.startswith("clamp l1 ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert {path.name for path in file.parent.iterdir() if path.name.startswith(".")} == set()


def test_an_unproven_ratio_enters_the_registry_without_a_proof(tmp_path: Path, server: Path) -> None:
    _said, target = commissioned(tmp_path, "--ct", "80", "--role", "energy_import_total=sub_meter")
    said = tanyun("meters", "add", str(target), "--yes", "-c", str(server))
    assert (said.exit_code, "变比未证实 / ratio unproven" in said.output) == (0, True), said.output
    meter = load_registry(server.parent / "park.toml").meter("feeder")
    assert meter is not None
    assert (float(meter.ct), meter.ratio_proof) == (80, None)


def test_a_dry_run_shows_the_change_and_makes_none(server: Path, proven: Path) -> None:
    said = tanyun("meters", "add", str(proven), "--dry-run", "-c", str(server))
    assert (said.exit_code, '+id = "feeder"' in said.output) == (0, True)
    assert (server.parent / "park.toml").read_text(encoding="utf-8") == REGISTRY


def loaded(proven: Path, **changed: Any) -> Sheet:
    return msgspec.structs.replace(decode_sheet(proven.read_bytes()), **changed)


def written(sheet: Sheet, folder: Path) -> str:
    file = folder / "other.json"
    file.write_bytes(encode_sheet(sheet))
    return str(file)


def test_everything_that_is_wrong_with_a_sheet_is_said_at_once_and_nothing_is_written(
    tmp_path: Path, server: Path, proven: Path
) -> None:
    sheet = loaded(proven)
    wrong = msgspec.structs.replace(
        sheet,
        park="elsewhere",
        verdict="does_not_fit",
        model=msgspec.structs.replace(sheet.model, serial="777", serial_read="778"),
        wanted=msgspec.structs.replace(sheet.wanted, roles={}),
    )
    said = tanyun("meters", "add", written(wrong, tmp_path), "--yes", "-c", str(server))
    assert said.exit_code == 1
    for part in (
        "park 'elsewhere'",
        "does not fit",
        "is it the right meter?",
        "no total has a role",
        "belongs to the meter 'gate'",
    ):
        assert part in said.output, part
    assert (server.parent / "park.toml").read_text(encoding="utf-8") == REGISTRY


def test_what_the_registry_itself_refuses_is_refused_as_a_whole(
    tmp_path: Path, server: Path, proven: Path
) -> None:
    sheet = loaded(proven, gateway="gw-9")
    said = tanyun("meters", "add", written(sheet, tmp_path), "--yes", "--parent", "nobody", "-c", str(server))
    assert said.exit_code == 78
    assert f"{server.parent / 'park.toml'} has mistakes" in said.output
    assert "gw-9" in said.output
    assert "nobody" in said.output
    assert (server.parent / "park.toml").read_text(encoding="utf-8") == REGISTRY


def test_a_known_meter_is_refused_or_merged_without_touching_its_ratio(
    tmp_path: Path, server: Path, proven: Path
) -> None:
    sheet = loaded(proven, meter="gate")
    sheet = msgspec.structs.replace(sheet, model=msgspec.structs.replace(sheet.model, serial="777"))
    same = msgspec.structs.replace(
        sheet,
        proof=msgspec.structs.replace(
            sheet.proof, ratios=msgspec.structs.replace(sheet.proof.ratios, ct="15")
        ),
    )
    command = ("meters", "add", written(same, tmp_path), "--yes", "-c", str(server))
    refused = tanyun(*command)
    assert (refused.exit_code, "--merge" in refused.output) == (1, True)
    assert tanyun(*command, "--merge").exit_code == 0
    park = load_registry(server.parent / "park.toml")
    meter = park.meter("gate")
    assert len(park.meters) == 1
    assert meter is not None
    assert (float(meter.ct), meter.profile, bool(meter.ratio_proof)) == (15, "acrel_dtsd1352", True)
    text = (server.parent / "park.toml").read_text(encoding="utf-8")
    assert 'roles = { energy_import_total = "grid_boundary" }   # as agreed' in text
    changed = tanyun("meters", "add", written(sheet, tmp_path), "--yes", "--merge", "-c", str(server))
    assert (changed.exit_code, "a change is dated" in changed.output) == (1, True)


def test_a_registry_that_changed_meanwhile_is_not_overwritten(server: Path) -> None:
    file = server.parent / "park.toml"
    with pytest.raises(entry.EntryError, match="changed meanwhile"):
        entry.replace(file, "what was read before", "new")
    assert file.read_text(encoding="utf-8") == REGISTRY
    assert sorted(path.name for path in file.parent.iterdir()) == ["park.toml", "server.toml"]


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'{"version": 2}'])
def test_what_is_no_sheet_is_a_sentence(tmp_path: Path, server: Path, data: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    with pytest.raises(SheetError):
        decode_sheet(data)
    for command in (("add", str(file), "-c", str(server)), ("sheet", str(file))):
        said = tanyun("meters", *command)
        assert (said.exit_code, "no commissioning sheet" in said.output) == (1, True)


def test_a_registry_that_is_wrong_already_is_named(server: Path, proven: Path) -> None:
    file = server.parent / "park.toml"
    file.write_text(REGISTRY.replace('site = "s"', 'site = "x"'), encoding="utf-8")
    text = file.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"park\.toml"):
        entry.checked(file, entry.with_meter(text, loaded(proven), "ab", merge=False))


def test_the_list_of_meters_is_still_there(server: Path) -> None:
    said = tanyun("meters", "--json", "-c", str(server))
    assert [row["meter"] for row in json.loads(said.output)] == ["gate"]
