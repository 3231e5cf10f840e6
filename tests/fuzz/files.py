"""Doors for files: configurations, load files, factor tables, evidence packs, segments of the journal."""

import tempfile
import tomllib
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from edge_agent.config import EdgeConfig
from edge_agent.profile import ProfileError, bundled_profiles, parse_profile
from edge_agent.simulator.config import SimulatorConfigError, parse_config
from edge_agent.simulator.csvload import LoadFileError, read_days
from factors.table import FactorDataError, FactorTable, bundled_data
from metering.config import ConfigError, validate
from metering.registry import parse_registry
from storage.errors import CorruptError
from storage.segment import pack, unpack_all
from tanyun.config import ServerConfig
from verification.delivery.config import DeliveryConfig
from verification.evidence.container import Container, ContainerWriter
from verification.evidence.verify import verify_pack

ROOT = Path(__file__).parents[2]


def toml_seeds(*names: str) -> Callable[[], list[bytes]]:
    return lambda: [(ROOT / name).read_bytes() for name in names]


def _document(data: bytes) -> dict[str, object] | None:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return None


def config_registry(data: bytes) -> None:
    """A registry loads or has mistakes."""
    document = _document(data)
    if document is not None:
        with suppress(ConfigError):
            parse_registry(document)


def config_roles(data: bytes) -> None:
    """The configurations of gateway, server and delivery."""
    document = _document(data)
    for model in (EdgeConfig, ServerConfig, DeliveryConfig):
        if document is not None:
            with suppress(ConfigError):
                validate(document, model, "x.toml")


def config_profile(data: bytes) -> None:
    """A meter profile, which installers write by hand."""
    document = _document(data)
    if document is not None:
        with suppress(ProfileError):
            parse_profile("fuzzed", document)


def config_simulator(data: bytes) -> None:
    """The simulator's park."""
    document = _document(data)
    if document is not None:
        with suppress(SimulatorConfigError):
            parse_config(document)


def profile_seeds() -> list[bytes]:
    folder = ROOT / "edge_agent" / "profiles"
    return sorted((folder / f"{name}.toml").read_bytes() for name in bundled_profiles()[:4])


def role_seeds() -> list[bytes]:
    edge = b"""park = "p"\ngateway = "g"\n[broker]\nuser = "g"\npassword_file = "x"\n[outbox]\npath = "o.db"
[[buses]]\nid = "l"\nhost = "127.0.0.1"\n[[meters]]\nid = "m"\nbus = "l"\nunit = 1\nprofile = "chint_dtsu666"\n"""
    server = b"""registry = "p.toml"\ndata = "d"\nreports = "r"\n[broker]\nuser = "host"\npassword_file = "x"\n[influx]\nurl = "http://127.0.0.1:8086"\n"""
    delivery = b"""signing_key = "k.pem"\n[[target]]\nname = "a"\nkind = "smtp"\nhost = "mail.example"\nsender = "a@b.cn"\nto = ["c@d.cn"]
[[target]]\nname = "b"\nkind = "sftp"\nhost = "h"\nuser = "u"\nkey_file = "k"\nknown_hosts = "n"
[tsa]\nurl = "https://tsa.example/"\nroots_file = "r.pem"\n"""
    return [edge, server, delivery]


@cache
def scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="tanyun-fuzz-"))


def kept(data: bytes, name: str) -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def csv_load(data: bytes) -> None:
    """A load file of the simulator."""
    with suppress(LoadFileError):
        read_days(kept(data, "load.csv"))


def csv_seeds() -> list[bytes]:
    day = b"".join(b"1/1/2018 %d:%02d,%d.5\n" % (h, m, h + m) for h in range(24) for m in (0, 15, 30, 45))
    return [
        b"date,Usage_kWh\n" + day[14:],
        b"time;kWh\n2018-01-01 00:15;1,5\n2018-01-01 00:30;2\n",
        b"date,Usage_kWh\n1/1/2018 0:15,1e308\n",
    ]


def factor_tables(data: bytes) -> None:
    """The tables of emission factors, one of them replaced."""
    names = sorted(item.name for item in bundled_data().iterdir() if item.name.endswith(".csv"))
    folder = scratch() / "factors"
    if not folder.exists():
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((bundled_data() / name).read_bytes())
    name = names[(data[0] if data else 0) % len(names)]
    kept = (folder / name).read_bytes()
    try:
        (folder / name).write_bytes(data[1:])
        with suppress(FactorDataError):
            FactorTable.load(folder)
    finally:
        (folder / name).write_bytes(kept)


def factor_seeds() -> list[bytes]:
    names = sorted(item.name for item in bundled_data().iterdir() if item.name.endswith(".csv"))
    return [bytes([i]) + (bundled_data() / name).read_bytes()[:3000] for i, name in enumerate(names)]


def evidence_pack(data: bytes) -> None:
    """A ZIP from a stranger: it is read strictly, or named as flawed; nothing is unpacked to disk."""
    path = kept(data, "pack.zip")
    assert not verify_pack(path).equal
    with Container(path) as pack:
        for name in pack.members:
            with suppress(zlib.error):
                pack.content(name)


@cache
def pack_seeds() -> list[bytes]:
    path = scratch() / "seed.zip"
    path.unlink(missing_ok=True)
    with ContainerWriter(path) as made:
        made.add("a.json", [b'{"a": 1}'])
        made.add("b/c.bin", [bytes(300)])
        for name in ("manifest.json", "manifest.sig", "public-key.pem"):
            made.add(name, [b'{"schema": "x"}'], deflate=False)
    return [path.read_bytes()]


def journal_segment(data: bytes) -> None:
    """A segment's body adds up, or is corrupt; what adds up packs to the same bytes."""
    with suppress(CorruptError):
        assert b"".join(map(pack, unpack_all(data))) == data
