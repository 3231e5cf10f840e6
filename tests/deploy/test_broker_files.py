"""The broker's files of a site: made once, brought up to date, private, and never a surprise."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tanyun.broker import BrokerError
from tanyun.broker_files import Wanted, bring_up_to_date
from tanyun.commands.secrets import broker as command
from tanyun.supervisor import EX_CONFIG
from tests.site import park_with

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
NAMES = ("mqtt.park.example",)
WANTED = Wanted(names=NAMES)


def registry_file(folder: Path, *gateways: str) -> Path:
    file = folder / "park.toml"
    rows = "".join(f'[[gateways]]\nid = "{gateway}"\nsite = "s"\n' for gateway in gateways)
    file.write_text(
        'id = "park"\nname = "园区"\ngrid_scope = "CN-AH"\nmeters = []\n'
        f'[[enterprises]]\nid = "e"\nname = "企业"\n[[sites]]\nid = "s"\nenterprise = "e"\nname = "厂区"\n{rows}',
        encoding="utf-8",
    )
    return file


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    assert bring_up_to_date(tmp_path, park_with("gw-a"), WANTED).written
    before = content(tmp_path)
    assert bring_up_to_date(tmp_path, park_with("gw-a"), WANTED).written == []
    assert content(tmp_path) == before


def test_a_gateway_added_later_gets_its_folder_and_changes_nobody_elses(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    before = content(tmp_path)
    changes = bring_up_to_date(tmp_path, park_with("gw-a", "gw-b"), WANTED)
    own = {f"gateways/gw-b/{name}" for name in ("password", "ca.crt", "edge.toml")}
    assert set(changes.written) == {*own, "broker/acl", "broker/passwords"}
    after = content(tmp_path)
    assert {name for name in before if after[name] != before[name]} == {"broker/acl", "broker/passwords"}
    kept = before["broker/passwords"].splitlines()
    assert after["broker/passwords"].splitlines()[: len(kept)] == kept


def test_a_gateway_gone_from_the_registry_cannot_sign_in_and_is_named(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a", "gw-b"), WANTED)
    changes = bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    assert changes.revoked == ["gw-b"]
    assert b"gw-b" not in content(tmp_path)["broker/passwords"] + content(tmp_path)["broker/acl"]


def test_a_renewed_password_replaces_the_old_one_only(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a", "gw-b"), WANTED)
    before = content(tmp_path)
    bring_up_to_date(tmp_path, park_with("gw-a", "gw-b"), Wanted(renew=("gw-a",)))
    after = content(tmp_path)
    assert {name for name in before if after[name] != before[name]} == {
        "gateways/gw-a/password",
        "broker/passwords",
    }


def test_what_the_installer_wrote_into_edge_toml_stays(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    edge = tmp_path / "gateways" / "gw-a" / "edge.toml"
    edge.write_text("mine", encoding="utf-8")
    bring_up_to_date(tmp_path, park_with("gw-a"), Wanted(names=("other.example",)))
    assert edge.read_text(encoding="utf-8") == "mine"


def test_only_the_ca_certificate_may_be_read_by_others(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")
    }
    assert modes.pop("ca.crt") == 0o644
    folders = {"broker", "host", "gateways", "gateways/gw-a"}
    assert {modes.pop(name) for name in folders} == {0o700}
    assert set(modes.values()) == {0o600}
    assert {"ca.key", "broker/server.key", "broker/passwords", "gateways/gw-a/password"} <= set(modes)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_root_writes_for_the_owner_of_each_folder(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    for path in (tmp_path / "broker", *(tmp_path / "broker").iterdir()):
        os.chown(path, 65534, 65534)
    bring_up_to_date(tmp_path, park_with("gw-a", "gw-b"), Wanted(names=("other.example",)))
    assert {file.stat().st_uid for file in (tmp_path / "broker").iterdir()} == {65534}
    assert {file.stat().st_uid for file in (tmp_path / "gateways").rglob("*")} == {0}


def test_an_added_name_makes_a_new_certificate_of_the_same_ca(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    ca = (tmp_path / "ca.crt").read_bytes()
    changes = bring_up_to_date(tmp_path, park_with("gw-a"), Wanted(names=("10.0.0.5",)))
    assert set(changes.written) == {"broker/server.key", "broker/server.crt", "names"}
    assert (tmp_path / "ca.crt").read_bytes() == ca
    shown = subprocess.run(
        ("openssl", "x509", "-in", str(tmp_path / "broker" / "server.crt"), "-noout", "-ext", "subjectAltName"),
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert re.findall(r"(?:DNS|IP Address):([^,\s]+)", shown) == [
        "10.0.0.5",
        "mqtt.park.example",
        "localhost",
        "127.0.0.1",
    ]


def test_a_certificate_that_ends_soon_or_lost_its_key_is_replaced(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    (tmp_path / "broker" / "server.key").unlink()
    made = {"broker/server.key", "broker/server.crt"}
    assert set(bring_up_to_date(tmp_path, park_with("gw-a"), WANTED).written) == made
    other = tmp_path / "other"
    bring_up_to_date(other, park_with("gw-a"), WANTED)
    shutil.copy(other / "broker" / "server.crt", tmp_path / "broker" / "server.crt")
    assert set(bring_up_to_date(tmp_path, park_with("gw-a"), WANTED).written) == made


def test_half_a_ca_is_never_replaced_by_itself(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(BrokerError, match="backup"):
        bring_up_to_date(tmp_path, park_with("gw-a"), WANTED)


@pytest.mark.parametrize("name", ["a b", "-", "x,DNS:evil", "mqtt\nIP:1.2.3.4", "", "園.example"])
def test_a_name_that_is_no_host_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokerError):
        bring_up_to_date(tmp_path, park_with("gw-a"), Wanted(names=(name,)))
    assert not content(tmp_path)


def test_tls_without_any_name_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="--name"):
        bring_up_to_date(tmp_path, park_with("gw-a"), Wanted())


def test_the_command_prints_files_and_never_what_is_in_them(tmp_path: Path) -> None:
    registry, data = registry_file(tmp_path, "gw-a"), tmp_path / "broker"
    words = ["init", "--data", str(data), "--registry", str(registry), "--tls", "--name", "mqtt.park.example"]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    secrets = [(data / name / "password").read_text().strip() for name in ("host", "gateways/gw-a")]
    secrets += (data / "ca.key").read_text().splitlines()[1:-1]
    assert all(len(secret) > 20 for secret in secrets[:2])
    assert not [secret for secret in secrets if secret in done.output]
    again = CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False)
    assert json.loads(again.output) == {"written": [], "not_in_the_registry": []}


def test_the_command_lists_the_registrys_mistakes_and_writes_nothing(tmp_path: Path) -> None:
    registry = registry_file(tmp_path, "gw-a", "gw-a")
    data = tmp_path / "broker"
    done = CliRunner().invoke(command, ["init", "--data", str(data), "--registry", str(registry)])
    assert done.exit_code == EX_CONFIG
    assert "gw-a" in done.output
    assert not data.exists()


def test_the_committed_configuration_is_the_generated_one() -> None:
    from tanyun.broker_files import tls_config  # noqa: PLC0415

    committed = Path(__file__).parents[2] / "deploy" / "mosquitto" / "mosquitto.conf"
    assert committed.read_text(encoding="utf-8") == tls_config(Path("/etc/tanyun/broker/broker"), 8883)
