"""Evidence packs of a real journal and a ledger that the real stream made: equal when honest, named when not."""

import hashlib
import json
import random
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from factors.fuel import FuelTable
from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.intervals import HOUR_MS, QUARTER_MS, local_month
from metering.registry import Park, parse_registry
from storage.facts.fact import Fact
from storage.facts.state import Facts
from storage.journal import Commit, Entry, FrameIndex, JournalReader
from storage.journal_writer import JournalWriter
from storage.ledger import LedgerReader
from storage.merkle import merkle_root
from storage.months import MonthRow, MonthStore
from stream.context import Context
from stream.policy import Policy
from tests.stream.runs import run_through
from tests.verification.conftest import CLOSED_AT_MS, MONTH, PARK, Plant
from verification.evidence import manifest as names
from verification.evidence import signing
from verification.evidence.container import Container, ContainerWriter
from verification.evidence.errors import KeyFileError, PackError
from verification.evidence.manifest import FileLine, Manifest
from verification.evidence.pack import Sources, write_pack
from verification.evidence.proof import ProofError, blocks, encode_block
from verification.evidence.verify import verify_pack

HOURS = 6
"""Hours of frames on both sides of both edges; between them lies a gap."""
DIPPED, LATE = "m-two", "m-press"
Edit = Callable[[bytes], bytes]


class Works(Plant):
    """A plant with frames every quarter hour around the edges, a transient dip, a late frame, a new birth; the stream's ledger."""

    @cached_property
    def silent_from_ms(self) -> dict[str, int]:
        """Meter → when its frames end."""
        return {}

    def _frames(self) -> Iterator[Entry]:
        entries: list[Entry] = []
        start, end = self.month
        for edge in self.month:
            for t_ms in range(edge - HOURS * HOUR_MS, edge + HOURS * HOUR_MS, QUARTER_MS):
                for meter in self.park.meters:
                    if t_ms >= self.silent_from_ms.get(meter.id, t_ms + 1):
                        continue
                    entries.append(self._frame(meter.id, meter.gateway, t_ms + 7_000, len(entries) + 1))
                if t_ms in {start, end}:  # a birth again, as after a gateway's restart
                    entries.append(self._birth("m-grid", "gw1"))
        self.rates[DIPPED, "energy_import_total"] -= (
            200  # the last frame before the month shows less than the one before
        )
        dip = self._frame(DIPPED, "gw2", end - QUARTER_MS // 2, len(entries) + 1)
        self.rates[DIPPED, "energy_import_total"] += 200
        late = self._frame(LATE, "gw1", start + 10 * HOUR_MS, len(entries) + 2)
        after = next(
            i
            for i, entry in enumerate(entries)
            if isinstance(entry.index, FrameIndex) and entry.index.t_ms > end
        )
        yield from entries[:after]
        yield dip
        yield from entries[after:]
        yield late

    def _ledger(self) -> None:
        policy = Policy(FactorTable.load(), enterprise_policy(), self.park.tz, date(2026, 11, 1))
        run_through(self.folder / "journal.sqlite", self.folder / "ledger.sqlite", Context(self.park, policy))


@dataclass(frozen=True)
class Packed:
    """A closed month and its packs."""

    works: Plant
    rows: list[MonthRow]
    key: Ed25519PrivateKey

    def write(self, folder: Path, scope: str = "demo", park: Park | None = None) -> Path:
        row = next(row for row in self.rows if row.scope_id == scope)
        with (
            LedgerReader(self.works.folder / "ledger.sqlite") as ledger,
            MonthStore(self.works.folder / "months.sqlite", writable=False) as months,
        ):
            journal, known = self.works.folder / "journal.sqlite", {"acrel_dtsd1352": b"# a profile\n"}
            sources = Sources(
                park or self.works.park, journal, ledger, FactorTable.load(), self.key, "tanyun test", known,
                lambda _revision: Facts(tuple(self.works.facts)), FuelTable.load(), months,
            )  # fmt: skip
            return write_pack(row, sources, folder)


def works_park() -> Park:
    """Whose month it is."""
    return parse_registry(msgspec.convert(PARK, dict[str, object]))


def packed_month(folder: Path, facts: Sequence[Fact] = ()) -> Packed:
    """The works' month, closed with these facts."""
    park = works_park()
    works = Works(folder, park, local_month(MONTH, park.tz), facts=[*facts])
    works.build()
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return Packed(works, works.close(at_ms=CLOSED_AT_MS), key)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed_month(tmp_path_factory.mktemp("works"))


@pytest.fixture(scope="module")
def pack(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The park's pack: every meter of the plant."""
    return packed.write(tmp_path_factory.mktemp("packs"))


def forged(pack: Path, folder: Path, key: Ed25519PrivateKey, edits: dict[str, Edit]) -> Path:
    """The pack with other files in it, and a manifest and signature that fit them: what an operator with the key could do."""
    path = folder / "forged.zip"
    with Container(pack) as old, ContainerWriter(path) as new:
        manifest = msgspec.json.decode(old.read(names.MANIFEST), type=Manifest)
        lines = []
        for line in manifest.files:
            content = edits.get(line.name, bytes)(old.read(line.name))
            lines.append(FileLine(line.name, *new.add(line.name, [content])))
        digest = hashlib.sha256(edits.get(names.DOCUMENT, bytes)(old.read(names.DOCUMENT))).hexdigest()
        listed = names.canonical(
            msgspec.structs.replace(manifest, files=tuple(lines), document_sha256=digest)
        )
        new.add(names.MANIFEST, [listed], deflate=False)
        new.add(names.SIGNATURE, [key.sign(listed)], deflate=False)
        new.add(names.PUBLIC_KEY, [signing.public_pem(key.public_key())], deflate=False)
    return path


def recompute(pack: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    with zipfile.ZipFile(pack) as archive:
        script = archive.extract("recompute.py", folder)
    command = [sys.executable, "-I", "-S", script, str(pack)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def replaced(old: str, new: str) -> Edit:
    def edit(content: bytes) -> bytes:
        assert content.count(old.encode()) >= 1
        return content.replace(old.encode(), new.encode(), 1)

    return edit


@pytest.mark.parametrize("scope", ["demo", "jingmi", "guangdian"])
def test_a_pack_is_equal_without_any_database(packed: Packed, tmp_path: Path, scope: str) -> None:
    verdict = verify_pack(packed.write(tmp_path, scope), packed.key.public_key())
    assert verdict.difference is None
    totals = {"demo": 7, "jingmi": 6, "guangdian": 1}[scope]
    assert (verdict.totals, verdict.intervals) == (totals, totals * 31 * 96)


def test_the_plant_has_what_makes_it_hard(packed: Packed) -> None:
    with LedgerReader(packed.works.folder / "ledger.sqlite") as ledger:
        kinds = {(event.meter, event.kind) for event in ledger.events()}
    assert {(DIPPED, "pending_fall"), (DIPPED, "transient_dropped")} <= kinds


def test_the_same_month_gives_the_same_bytes(packed: Packed, pack: Path, tmp_path: Path) -> None:
    again = packed.write(tmp_path)
    assert again.read_bytes() == pack.read_bytes()
    assert packed.write(tmp_path) == again


def test_a_pack_is_never_overwritten_with_other_bytes(packed: Packed, tmp_path: Path) -> None:
    path = packed.write(tmp_path)
    path.write_bytes(b"mine")
    with pytest.raises(PackError, match="never overwritten"):
        packed.write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_script_in_the_pack_recomputes_with_the_standard_library_alone(
    pack: Path, tmp_path: Path
) -> None:
    done = recompute(pack, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "equal"
    with Container(pack) as container:
        document = json.loads(container.read(names.DOCUMENT))
    for line in document["meters"]:
        assert f"{line['opening_wh']} -> {line['closing_wh']} = {line['energy_wh']} Wh" in done.stdout


def test_an_enterprise_gets_no_frame_of_another(packed: Packed, tmp_path: Path) -> None:
    with Container(packed.write(tmp_path, "jingmi")) as container:
        records = container.read(names.RECORDS)
        assert b"/gw1/m-grid" in records
        assert b"m-two" not in records
        assert all(b"guangdian" not in container.read(name) for name in container.members)


def test_frames_are_there_byte_for_byte_from_the_last_before_to_the_first_after(
    packed: Packed, pack: Path
) -> None:
    start, end = packed.works.month
    with JournalReader(packed.works.folder / "journal.sqlite") as journal, Container(pack) as container:
        carried = b"".join(r for block in blocks(container.chunks(names.RECORDS)) for _i, r in block.records)
        frames = list(journal.frames("gw1", "m-line", 0, 1 << 62))
        wanted = [frame for frame in frames if start - QUARTER_MS < frame.t_ms < end + QUARTER_MS]
        for frame in frames:
            assert (frame.payload in carried) == (frame in wanted)


def test_any_flipped_byte_is_found_and_named(pack: Path, tmp_path: Path) -> None:
    data, flipped, chance = pack.read_bytes(), tmp_path / "flipped.zip", random.Random(20261121)
    with Container(pack) as container:
        members = list(container.members.values())
    first = members[0]
    directory_at = members[-1].data_at + members[-1].packed_size
    headers = [chance.randrange(len(member.local)) + member.at for member in members]
    within = [
        at
        for m in members
        for at in (m.data_at, m.data_at + m.packed_size // 2, m.data_at + m.packed_size - 1)
    ]
    tail = [chance.randrange(directory_at, len(data)) for _ in range(20)]
    for at in [
        *(chance.randrange(len(data)) for _ in range(100)),
        first.at,
        *headers,
        *within,
        *tail,
        len(data) - 1,
    ]:
        flipped.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        difference = verify_pack(flipped).difference
        assert difference is not None, at
        inside = next((m for m in members if m.data_at <= at < m.data_at + m.packed_size), None)
        assert (inside.name if inside else "container") in difference.place, at


@pytest.mark.parametrize(
    "change", [lambda d: d + b"\0", lambda d: d[:-1], lambda d: b"\0" + d, lambda _d: b"", lambda d: d + d]
)
def test_no_byte_can_be_added_or_taken_away(pack: Path, tmp_path: Path, change: Edit) -> None:
    other = tmp_path / "other.zip"
    other.write_bytes(change(pack.read_bytes()))
    assert not verify_pack(other).equal


def test_another_key_is_not_the_pinned_one(packed: Packed, pack: Path, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    by_other = forged(pack, tmp_path, other, {})
    assert not verify_pack(pack, other.public_key()).equal
    assert not verify_pack(by_other, packed.key.public_key()).equal
    assert not verify_pack(by_other).equal  # its manifest still names the first key


def emission_line(content: bytes) -> bytes:
    document = json.loads(content)
    document["emissions"][0]["emission_ug"] = str(int(document["emissions"][0]["emission_ug"]) - 1)
    return json.dumps(document).encode()


def meter_line(name: str) -> Edit:
    def edit(content: bytes) -> bytes:
        document = json.loads(content)
        document["meters"][3][name] = str(int(document["meters"][3][name]) + 1)
        return json.dumps(document).encode()

    return edit


def one_bit_of_a_frame(content: bytes) -> bytes:
    at = content.index(b"/gw1/m-line", len(content) // 2) + 20
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("name", "edit", "place"),
    [
        (names.DOCUMENT, meter_line("opening_wh"), "meters[m-line/energy_import_total].opening_wh"),
        (names.DOCUMENT, meter_line("closing_wh"), "meters[m-line/energy_import_total].closing_wh"),
        (names.DOCUMENT, meter_line("energy_wh"), "meters[m-line/energy_import_total].energy_wh"),
        (names.DOCUMENT, meter_line("emission_ug"), "meters[m-line/energy_import_total].emission_ug"),
        (names.DOCUMENT, emission_line, "emissions[enterprise].emission_ug"),
        (names.LEDGER, replaced(",900000,1,0,1\r\n", ",900000,0,0,1\r\n"), "ledger.csv m-grid/energy_import_total"),
        (names.FACTORS, replaced("enterprise,CN-", "enterprise,XX-"), "factors[enterprise]"),
        (names.METERS, replaced(",80,1,", ",40,1,"), "m-grid"),
        (names.FORMULAS, replaced("park,demo,grid_boundary,1", "park,demo,grid_boundary,-1"), "formula"),
        (names.RECORDS, one_bit_of_a_frame, "journal/records.bin segment"),
        (names.ROOTS, lambda content: content[:-1] + bytes([content[-1] ^ 1]), "segment"),
        (names.CHAIN, replaced('"chain_before": "', '"chain_before": "00'), "journal/"),
        (names.OPENING, replaced("m-grid,energy_import_total,1", "m-grid,energy_import_total,2"), "opening.csv m-grid"),
    ],
)  # fmt: skip
def test_a_forgery_by_the_signer_himself_is_found_and_named(
    packed: Packed, pack: Path, tmp_path: Path, name: str, edit: Edit, place: str
) -> None:
    report = {"reports/demo_示范高新区_2026-10_r1.json": edit} if name == names.DOCUMENT else {}
    path = forged(pack, tmp_path, packed.key, {name: edit, **report})
    difference = verify_pack(path, packed.key.public_key()).difference
    assert difference is not None
    assert place in difference.place


@pytest.mark.parametrize("name", ["opening_wh", "closing_wh", "energy_wh", "emission_ug"])
def test_the_script_names_a_forged_figure(packed: Packed, pack: Path, tmp_path: Path, name: str) -> None:
    done = recompute(forged(pack, tmp_path, packed.key, {names.DOCUMENT: meter_line(name)}), tmp_path)
    assert done.returncode == 1
    assert f"m-line/energy_import_total {name}" in done.stdout.splitlines()[-1]


def test_a_frame_left_out_is_found(packed: Packed, pack: Path, tmp_path: Path) -> None:
    """Pruned to its hash, the tree still has its root: only the figures tell."""

    def without(content: bytes) -> bytes:
        with JournalReader(packed.works.folder / "journal.sqlite") as journal:
            start = packed.works.month.start_ms
            gone = next(journal.frames("gw1", "m-line", start + HOUR_MS, start + 2 * HOUR_MS))
        at = content.index(gone.payload)
        head = content.rindex(b"\x01", 0, at - len(gone.topic) - 14 - 3)
        record = content[head + 5 : at + len(gone.payload)]
        return (
            content[:head]
            + b"\0"
            + hashlib.sha256(b"\0" + record).digest()
            + content[at + len(gone.payload) :]
        )

    path = forged(pack, tmp_path, packed.key, {names.RECORDS: without})
    difference = verify_pack(path, packed.key.public_key()).difference
    assert difference is not None
    assert "ledger.csv m-line" in difference.place


def test_a_ledger_that_has_moved_on_makes_no_pack(packed: Packed, tmp_path: Path) -> None:
    row = packed.rows[-1]
    document = json.loads(row.document)
    document["meters"][0]["balance"]["ledger_wh"] = "1"
    older = msgspec.structs.replace(row, document=json.dumps(document).encode())
    with pytest.raises(PackError, match="moved on"):
        Packed(packed.works, [older], packed.key).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_journal_makes_no_pack(packed: Packed, tmp_path: Path) -> None:
    row = packed.rows[-1]
    document = json.loads(row.document)
    document["journal"]["id"] = "00"
    other = msgspec.structs.replace(row, document=json.dumps(document).encode())
    with pytest.raises(PackError, match="not the one"):
        Packed(packed.works, [other], packed.key).write(tmp_path)


def test_a_ratio_changed_since_the_close_shows(packed: Packed, tmp_path: Path) -> None:
    data = json.loads(json.dumps(PARK))
    data["meters"][0]["ct"] = "300/5"
    verdict = verify_pack(packed.write(tmp_path, park=parse_registry(data)))
    assert verdict.difference is not None
    assert "m-grid" in verdict.difference.place


def test_frames_journaled_after_the_close_are_not_in_the_pack(tmp_path: Path) -> None:
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    works = Works(tmp_path, park, local_month(MONTH, park.tz))
    works.build()
    packed = Packed(works, works.close(), Ed25519PrivateKey.generate())
    before = packed.write(tmp_path / "a", "guangdian").read_bytes()
    writer = JournalWriter(tmp_path / "journal.sqlite")
    late = works._frame(DIPPED, "gw2", works.month.start_ms + HOUR_MS * 50, 100_000)
    writer.commit(Commit(entries=[late]), works.month.end_ms)
    writer.close()
    assert packed.write(tmp_path / "b", "guangdian").read_bytes() == before


def test_a_month_closed_as_incomplete_has_a_pack_that_is_equal_too(tmp_path: Path) -> None:
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    works = Works(tmp_path, park, local_month(MONTH, park.tz))
    works.silent_from_ms["m-pv"] = works.month.end_ms - HOUR_MS
    works.build()
    rows = works.close(incomplete=True)
    assert {
        line["energy_wh"] for line in json.loads(rows[-1].document)["meters"] if line["meter"] == "m-pv"
    } == {None}
    packed = Packed(works, rows, Ed25519PrivateKey.generate())
    path = packed.write(tmp_path / "packs")
    assert verify_pack(path).difference is None
    assert "m-pv/energy_generation_total: not determined" in recompute(path, tmp_path).stdout


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=40), st.data())
@settings(max_examples=100)
def test_a_pruned_tree_has_the_root_of_the_whole_segment(leaves: list[bytes], data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.integers(0, len(leaves) - 1)))
    encoded = encode_block(7, leaves, wanted)
    cut = data.draw(st.integers(0, len(encoded)))
    (block,) = blocks(iter([encoded[:cut], encoded[cut:]]))
    assert (block.segment, block.root) == (7, merkle_root(leaves))
    assert block.records == [(index, leaves[index]) for index in sorted(wanted)]


@pytest.mark.parametrize("data", [b"\0", encode_block(1, [b"a", b"b"], {0})[:-1], b"\0" * 12])
def test_bytes_that_are_no_pruned_tree_are_refused(data: bytes) -> None:
    with pytest.raises(ProofError):
        list(blocks(iter([data])))


def test_any_zip_program_opens_a_container(pack: Path) -> None:
    with zipfile.ZipFile(pack) as archive, Container(pack) as container:
        assert archive.testzip() is None
        assert archive.namelist() == list(container.members)
        assert all(container.read(name) == archive.read(name) for name in archive.namelist())


def test_content_larger_than_its_header_says_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with ContainerWriter(path) as writer:
        writer.add("a", [bytes(10_000_000)])
    data = path.read_bytes().replace((10_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    with Container(path) as container, pytest.raises(zlib.error, match="more content"):
        container.read("a")


def test_a_key_is_its_owners_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    public = signing.generate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert signing.load_private(path).public_key() == public == signing.load_public(tmp_path / "key.pub.pem")
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        signing.generate(path)
    (tmp_path / "key.pub.pem").unlink()
    with pytest.raises(KeyFileError, match="never overwritten"):
        signing.generate(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("no key")
    for load in (signing.load_private, signing.load_public):
        with pytest.raises(KeyFileError, match="holds no Ed25519"):
            load(path)
        with pytest.raises(KeyFileError, match="cannot be read"):
            load(tmp_path / "absent.pem")
