"""Packs that somebody changed on their way: every change is found and named, by `verify` and, but for a signature, by the script."""

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.verification.test_evidence import Packed, forged, packed_month, recompute
from verification.evidence import manifest as names
from verification.evidence import signing
from verification.evidence.container import Container, ContainerWriter
from verification.evidence.facts import Difference
from verification.evidence.manifest import Manifest, Signer
from verification.evidence.rebuilt import report_differences
from verification.evidence.verify import verify_pack

CUTS = 40


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed_month(tmp_path_factory.mktemp("works"))


@pytest.fixture(scope="module")
def pack(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One enterprise's: the smallest."""
    return packed.write(tmp_path_factory.mktemp("packs"), "guangdian")


def files_of(pack: Path) -> dict[str, bytes]:
    with Container(pack) as container:
        return {name: container.read(name) for name in container.members}


def written(path: Path, files: Iterator[tuple[str, bytes]]) -> Path:
    """A container in our form, whatever is in it."""
    with ContainerWriter(path) as container:
        for name, content in files:
            container.add(name, [content], deflate=name not in names.UNLISTED)
    return path


def found_in(path: Path, packed: Packed) -> Difference:
    difference = verify_pack(path, packed.key.public_key()).difference
    assert difference is not None
    return difference


def test_a_pack_that_is_written_again_is_the_same(packed: Packed, pack: Path, tmp_path: Path) -> None:
    """So that what the tests below find is what they changed."""
    again = written(tmp_path / pack.name, iter(files_of(pack).items()))
    assert again.read_bytes() == pack.read_bytes()
    assert verify_pack(again, packed.key.public_key()).equal


def test_a_pack_cut_off_anywhere_is_found(packed: Packed, pack: Path, tmp_path: Path) -> None:
    data, chance, short = pack.read_bytes(), random.Random(20261122), tmp_path / pack.name
    with Container(pack) as container:
        borders = [at for m in container.members.values() for at in (m.at, m.data_at)]
    for size in {0, 1, len(data) - 1, *borders, *(chance.randrange(len(data)) for _ in range(CUTS))}:
        short.write_bytes(data[:size])
        difference = found_in(short, packed)
        assert difference.place, size
    short.write_bytes(data[: len(data) // 2])
    assert recompute_of(pack, short, tmp_path).startswith("DIFFERENT: the pack cannot be read")


def recompute_of(pack: Path, changed: Path, folder: Path) -> str:
    """What the script of the honest pack says at last of a changed one."""
    with zipfile.ZipFile(pack) as archive:
        script = archive.extract(names.RECOMPUTE, folder / "honest")
    done = subprocess.run(
        [sys.executable, "-I", "-S", script, str(changed)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    return done.stdout.splitlines()[-1]


def test_a_file_added_by_a_zip_program_is_found(packed: Packed, pack: Path, tmp_path: Path) -> None:
    path = tmp_path / pack.name
    path.write_bytes(pack.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("facts/energy.csv", b"month,enterprise\r\n")
    assert "container" in found_in(path, packed).place
    assert recompute_of(pack, path, tmp_path).startswith("DIFFERENT: facts/energy.csv")


def test_a_file_added_in_our_own_form_is_found(packed: Packed, pack: Path, tmp_path: Path) -> None:
    files = files_of(pack) | {"facts/energy.csv": b"month,enterprise\r\n"}
    path = written(tmp_path / pack.name, iter(files.items()))
    assert found_in(path, packed) == Difference("facts/energy.csv", "not listed", "in the container")


def test_a_file_taken_out_is_found(packed: Packed, pack: Path, tmp_path: Path) -> None:
    files = files_of(pack)
    for name in files:
        path = written(tmp_path / pack.name, ((n, c) for n, c in files.items() if n != name))
        assert found_in(path, packed).place == name


def test_two_files_that_changed_places_are_found(packed: Packed, pack: Path, tmp_path: Path) -> None:
    files, one, other = files_of(pack), names.SITES, names.GATEWAYS
    swapped = files | {one: files[other], other: files[one]}
    path = written(tmp_path / pack.name, iter(swapped.items()))
    assert found_in(path, packed).place in {one, other}
    assert recompute_of(pack, path, tmp_path).startswith(
        ("DIFFERENT: registry/sites", "DIFFERENT: registry/gateways")
    )


def test_files_in_another_order_are_other_bytes_and_the_same_pack(
    packed: Packed, pack: Path, tmp_path: Path
) -> None:
    path = written(tmp_path / pack.name, iter(sorted(files_of(pack).items(), reverse=True)))
    assert verify_pack(path, packed.key.public_key()).equal


@pytest.mark.parametrize("name", [names.DOCUMENT, names.LEDGER, names.MANIFEST])
def test_a_file_that_is_there_twice_is_found(packed: Packed, pack: Path, tmp_path: Path, name: str) -> None:
    """A ZIP program shows the last one; a verifier that takes the first one would say equal."""

    def twice() -> Iterator[tuple[str, bytes]]:
        yield from files_of(pack).items()
        yield name, files_of(pack)[name] + b"\n"

    path = written(tmp_path / pack.name, twice())
    difference = found_in(path, packed)
    assert "container" in difference.place
    assert name in difference.said
    assert f"DIFFERENT: {name}" in recompute_of(pack, path, tmp_path)


def signed_again(pack: Path, path: Path, key: Ed25519PrivateKey, edits: dict[str, bytes]) -> Path:
    """With a manifest that names another signer, and that one's signature: all that one needs who has no key of the park's."""
    files = files_of(pack) | edits
    manifest = msgspec.json.decode(files[names.MANIFEST], type=Manifest)
    public = key.public_key()
    signer = Signer(manifest.signer.algorithm, public.public_bytes_raw().hex(), signing.key_id(public))
    listed = names.canonical(msgspec.structs.replace(manifest, signer=signer))
    own = {
        names.MANIFEST: listed,
        names.SIGNATURE: key.sign(listed),
        names.PUBLIC_KEY: signing.public_pem(public),
    }
    return written(path, iter((files | own).items()))


def test_a_pack_signed_again_with_another_key_is_found_by_the_pinned_one(
    packed: Packed, pack: Path, tmp_path: Path
) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
    path = signed_again(pack, tmp_path / pack.name, other, {})
    difference = found_in(path, packed)
    assert difference.place.startswith(names.MANIFEST)
    assert (difference.said, difference.found) == (
        signing.key_id(other.public_key()), signing.key_id(packed.key.public_key())
    )  # fmt: skip
    alone = verify_pack(path)  # without a pinned key only the fingerprint tells
    assert alone.equal
    assert not alone.pinned
    assert alone.manifest is not None
    assert alone.manifest.signer.key_id == signing.key_id(other.public_key())


@pytest.mark.parametrize(
    "name",
    [
        "guangdian_2026-09_r1_evidence.zip",
        "guangdian_2026-10_r2_evidence.zip",
        "jingmi_2026-10_r1_evidence (1).zip",
    ],
)
def test_a_pack_under_the_name_of_another_is_found(
    packed: Packed, pack: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(pack.read_bytes())
    difference = found_in(path, packed)
    assert (difference.place, difference.said) == (name, name.partition("_evidence")[0])
    assert difference.found == "guangdian_2026-10_r1"
    assert recompute_of(pack, path, tmp_path).startswith(f"DIFFERENT: {name}")


@pytest.mark.parametrize("name", ["pack.zip", "guangdian_2026-10_r1_evidence (2).zip", "的证据.zip"])
def test_a_name_that_claims_nothing_else_is_no_difference(
    packed: Packed, pack: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(pack.read_bytes())
    assert verify_pack(path, packed.key.public_key()).equal
    assert recompute(path, tmp_path).stdout.splitlines()[-1] == "equal"


def test_a_manifest_of_another_month_is_found_even_if_its_signer_made_it(
    packed: Packed, pack: Path, tmp_path: Path
) -> None:
    files = files_of(pack)
    manifest = msgspec.json.decode(files[names.MANIFEST], type=Manifest)
    listed = names.canonical(msgspec.structs.replace(manifest, month="2026-09"))
    own = {names.MANIFEST: listed, names.SIGNATURE: packed.key.sign(listed)}
    path = written(tmp_path / "pack.zip", iter((files | own).items()))
    assert found_in(path, packed).place == f"{names.MANIFEST}, {names.DOCUMENT}"


@pytest.mark.parametrize(
    "machine",
    [
        {"TZ": "America/New_York", "LANG": "C", "PYTHONHASHSEED": "1", "USER": "somebody"},
        {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4242", "PYTHONUTF8": "0"},
    ],
    ids=["new-york", "kathmandu"],
)
def test_reports_written_again_elsewhere_have_the_bytes_of_the_pack(
    pack: Path, tmp_path: Path, machine: dict[str, str]
) -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path), **machine}
    done = subprocess.run(
        [sys.executable, "-m", "tanyun", "evidence", "verify", pack, "--reports", "--json"],
        env=environment, cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["difference"]) == (0, None)


def test_a_report_that_was_drawn_by_somebody_else_is_found(
    packed: Packed, pack: Path, tmp_path: Path
) -> None:
    """Its bytes are signed by the park: only writing it again tells."""
    with Container(pack) as container:
        name = next(name for name in container.members if name.endswith(".pdf"))
    path = forged(
        pack, tmp_path, packed.key, {name: lambda content: content.replace(b"%PDF-1", b"%PDF-2", 1)}
    )
    assert verify_pack(path, packed.key.public_key()).equal
    (difference,) = report_differences(path)
    assert difference.place == f"{name}, written by tanyun test"
