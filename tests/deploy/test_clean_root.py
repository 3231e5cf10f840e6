"""Both installers in a clean Debian root without a network, from a bundle. Minutes, and it downloads: only when asked for.

`sudo TANYUN_CLEAN_ROOT=bookworm,trixie .venv/bin/python -m pytest tests/deploy/test_clean_root.py`
"""

import os
import platform
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELEASES = [name for name in os.environ.get("TANYUN_CLEAN_ROOT", "").split(",") if name]
MIRROR = [mirror] if (mirror := os.environ.get("TANYUN_DEBIAN_MIRROR")) else []
"""debootstrap has a default of its own."""
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not RELEASES, reason="asked for by TANYUN_CLEAN_ROOT=bookworm,trixie"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("debootstrap") is None, reason="no debootstrap on this machine"),
]
_ENTER = 'mount -t proc proc "$0/proc"; mount --bind /dev "$0/dev"; exec chroot "$0" "$@"'


def inside(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A program in the root, with processes and mounts of its own and no network interface that is up."""
    return subprocess.run(
        ("unshare", "--mount", "--net", "--pid", "--fork", "bash", "-ec", _ENTER, str(root), *words),
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=ENV,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tanyun"
    subprocess.run(
        (str(ROOT / "scripts" / "bundle"), "--arch", platform.machine(), "--debian", ",".join(RELEASES), str(folder)), check=True
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module", params=RELEASES)
def root(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bundle: Path
) -> Iterator[Path]:
    """With systemd, as on every real machine; without Python, Mosquitto and openssl."""
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run(
        ("debootstrap", "--variant=minbase", "--include=systemd", request.param, str(folder), *MIRROR), check=True, capture_output=True
    )  # fmt: skip
    shutil.copytree(bundle, folder / "bundle")
    shutil.copy(ROOT / "tanyun" / "demo" / "park.toml", folder / "root" / "park.toml")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    files = [
        file
        for top in ("etc/tanyun", "etc/systemd/system")
        for file in (root / top).rglob("*")
        if file.is_file()
    ]
    return {str(f.relative_to(root)): (f.stat().st_uid, f.stat().st_mode, f.read_bytes()) for f in files}


def test_the_server_installs_without_a_network_and_again_without_a_change(root: Path) -> None:
    words = ["/bundle/deploy/server/install.sh", "--name", "mqtt.park.example"]
    without = inside(root, *words)
    assert (without.returncode, "what is missing is the registry" in without.stderr) == (1, True), (
        without.stderr
    )
    first = inside(root, *words, "--park", "/root/park.toml")
    assert first.returncode == 0, first.stderr
    before = snapshot(root)
    second = inside(root, *words, "--park", "/root/park.toml")
    assert second.returncode == 0, second.stderr
    assert snapshot(root) == before
    private = [
        name
        for name, (_uid, mode, _text) in before.items()
        if "broker/" in name and stat.S_IMODE(mode) != 0o600
    ]
    assert private == ["etc/tanyun/broker/ca.crt"]
    secrets = [text for name, (_u, _m, text) in before.items() if name.endswith("password")]
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret.decode().strip() in first.stdout + first.stderr]
    wants = root / "etc/systemd/system/tanyun.target.wants"
    assert {link.name for link in wants.iterdir()} == {
        f"tanyun-{role}.service" for role in ("ingest", "stream", "api", "checks", "mosquitto")
    }
    registry = root / "etc/tanyun/registry"
    assert registry.stat().st_uid == (registry / "park.toml").stat().st_uid != 0, "the page writes it"
    assert inside(root, "tanyun", "--version").returncode == 0


def test_the_gateway_installs_with_the_servers_folder_and_keeps_what_the_installer_wrote(root: Path) -> None:
    words = ["/bundle/deploy/gateway/install.sh", "--credentials", "/etc/tanyun/broker/gateways/gw-yuntu"]
    first = inside(root, *words)
    assert first.returncode == 0, first.stderr
    assert "not started: complete /etc/tanyun/edge.toml" in first.stderr
    edge = root / "etc/tanyun/edge.toml"
    with edge.open("a", encoding="utf-8") as file:
        file.write('[[buses]]\nid = "line-1"\nhost = "192.0.2.10"\n')
        file.write('[[meters]]\nid = "m-1"\nbus = "line-1"\nprofile = "eastron_sdm630"\n')
    before = snapshot(root)
    second = inside(root, *words)
    assert second.returncode == 0, second.stderr
    assert "in order, 1 meters on 1 buses" in second.stderr
    assert snapshot(root) == before
    packages = inside(root, "/opt/tanyun/edge/bin/python", "-m", "pip", "list", "--format=freeze").stdout
    assert "tanyun==" in packages
    assert "numpy" not in packages
    assert inside(root, "systemd-analyze", "verify", "/etc/systemd/system/tanyun.target").returncode == 0
