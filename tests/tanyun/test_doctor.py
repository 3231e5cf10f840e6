"""The doctor on installations that are broken on purpose: each fault is named, with its cure."""

import json
import os
import re
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from metering.registry import load_registry, parse_registry
from tanyun import doctor
from tanyun.broker import BrokerPlan, is_free, plan_broker
from tanyun.doctor import BrokerAddress, ConfigFile, Diagnosis, Installation, diagnose
from tanyun.supervisor import Child, Supervisor

ROOT = Path(__file__).parents[2]
NOW_MS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
PARK = parse_registry(
    {
        "id": "park",
        "name": "园区",
        "grid_scope": "CN-AH",
        "enterprises": [{"id": "e", "name": "企业"}],
        "sites": [{"id": "s", "enterprise": "e", "name": "厂区"}],
        "gateways": [{"id": "gw-a", "site": "s"}],
        "meters": [],
    }
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPlan]:
    folder = tmp_path_factory.mktemp("broker")
    plan = plan_broker(folder, PARK)
    child = Child(
        "broker", plan.argv, folder / "broker.log", {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    with Supervisor([child], folder / "processes.json"):
        end = time.monotonic() + 20
        while is_free(plan.port):
            assert time.monotonic() < end, child.log_file.read_text()
            time.sleep(0.01)
        yield plan


def faults(what: Installation, now_ms: int = NOW_MS) -> dict[str, Diagnosis]:
    return {found.id: found for found in diagnose(what, lambda: now_ms) if not found.ok}


def test_sound_installation_has_no_fault(tmp_path: Path, broker: BrokerPlan) -> None:
    address = BrokerAddress("127.0.0.1", broker.port, "gw-a", broker.password("gw-a"))
    store = tmp_path / "ledger.sqlite"
    with sqlite3.connect(store) as connection:
        connection.execute("CREATE TABLE interval(id)")
    connection.close()
    what = Installation(
        tmp_path, broker=address, stores=(store,), newest_ms=NOW_MS - HOUR_MS, numba_cache=tmp_path
    )
    found = diagnose(what, lambda: NOW_MS)
    assert [one for one in found if not one.ok] == []
    assert {one.id for one in found} >= {
        "clock",
        "python",
        "data-folder",
        "disk",
        "store:ledger.sqlite",
        "broker-login",
    }


def test_every_fault_comes_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    what = Installation(
        tmp_path / "file" / "data",
        configs=(ConfigFile(tmp_path / "park.toml", load_registry),),
        broker=BrokerAddress("127.0.0.1", 1),
    )
    found = faults(what, now_ms=0)
    assert set(found) == {"clock", "config:park.toml", "data-folder", "broker"}
    assert all(fault.fault and fault.cure for fault in found.values())


def test_clock_in_1970_is_named(tmp_path: Path) -> None:
    fault = faults(Installation(tmp_path), now_ms=5 * HOUR_MS)["clock"]
    assert "1970-01-01T05:00:00" in fault.fault
    assert "timedatectl" in fault.cure


def test_clock_before_the_newest_frame_is_named(tmp_path: Path) -> None:
    late = Installation(tmp_path, newest_ms=NOW_MS + HOUR_MS)
    assert "2026-11-20T13:00:00" in faults(late)["clock"].fault
    assert "clock" not in faults(Installation(tmp_path, newest_ms=NOW_MS + 1000))


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 14), True), ((3, 15), False)]
)
def test_python_that_numba_does_not_support_is_named(version: tuple[int, int], ok: bool) -> None:
    found = doctor.check_python(version)
    assert found.ok == ok
    assert ok or "3.11 to 3.14" in found.fault


def test_scripts_look_for_the_same_pythons() -> None:
    text = (ROOT / "scripts" / "_setup").read_text()
    bounds = [re.search(rf'^{name}="(\d+)\.(\d+)"$', text, re.MULTILINE) for name in ("oldest", "newest")]
    assert [tuple(map(int, bound.groups())) for bound in bounds if bound] == [
        doctor.OLDEST_PYTHON,
        doctor.NEWEST_PYTHON,
    ]


def test_every_mistake_in_a_configuration_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "park.toml"
    file.write_text('id = "park"\nzone = "Mars/Olympus"\n')
    fault = doctor.check_config(ConfigFile(file, load_registry))
    assert not fault.ok
    assert all(
        word in fault.fault for word in (str(file), "zone: unknown IANA", "name: Field", "meters: Field")
    )


def test_missing_configuration_is_named(tmp_path: Path) -> None:
    fault = doctor.check_config(ConfigFile(tmp_path / "edge.toml", load_registry))
    assert str(tmp_path / "edge.toml") in fault.fault


def test_data_folder_that_does_not_exist_yet_is_fine(tmp_path: Path) -> None:
    assert doctor.check_data_folder(tmp_path / "new" / "data").ok
    assert not (tmp_path / "new").exists()


def test_data_folder_on_a_read_only_file_system_is_named() -> None:
    fault = doctor.check_data_folder(Path("/proc/tanyun"))
    assert "/proc/tanyun" in fault.fault
    assert "'/proc'" in fault.cure


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_folder_of_somebody_else_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    fault = doctor.check_data_folder(tmp_path)
    assert str(tmp_path) in fault.fault
    assert f"sudo chown -R {os.geteuid()}" in fault.cure


def test_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 2**62)
    assert "MB are free" in faults(Installation(tmp_path))["disk"].fault


def test_damaged_store_is_named(tmp_path: Path) -> None:
    store = tmp_path / "journal.sqlite"
    connection = sqlite3.connect(store)
    with connection:
        connection.execute("CREATE TABLE frame(body)")
        connection.executemany("INSERT INTO frame VALUES(?)", [(bytes(3000),)] * 20)
    connection.close()
    assert doctor.check_store(store).ok
    with store.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)
    fault = doctor.check_store(store)
    assert not fault.ok
    assert str(store) in fault.fault


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("something else entirely" * 100)
    assert "not a database" in doctor.check_store(tmp_path / "ledger.sqlite").fault


def test_large_store_is_checked_for_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "QUICK_CHECK_S", -1.0)
    store = tmp_path / "journal.sqlite"
    connection = sqlite3.connect(store)
    with connection:
        connection.execute("CREATE TABLE frame(id INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO frame VALUES(?)", ((number,) for number in range(50_000)))
    connection.close()
    found = doctor.check_store(store)
    assert found.ok
    assert "large" in found.fault


def test_store_that_does_not_exist_yet_is_fine(tmp_path: Path) -> None:
    assert doctor.check_store(tmp_path / "journal.sqlite").ok


def test_missing_package_is_named() -> None:
    fault = doctor.check_package("no_such_package", "does something")
    assert "no_such_package" in fault.fault
    assert doctor.check_package("msgspec", "does something").ok


def test_cold_cache_is_a_remark(tmp_path: Path) -> None:
    cold = doctor.check_numba_cache(tmp_path / "numba")
    assert (cold.ok, cold.cure) == (True, "tanyun warm")
    (tmp_path / "step.py311.1.nbc").touch()
    assert doctor.check_numba_cache(tmp_path) == Diagnosis("numba-cache", ok=True)


def test_no_broker_is_named(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        found = faults(Installation(tmp_path, broker=BrokerAddress("127.0.0.1", port)))
    assert f"127.0.0.1:{port}" in found["broker"].fault
    assert "refused" in found["broker"].fault
    assert "mosquitto" in found["broker"].cure


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_wrong_port_is_named(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_once, args=(server, answer))
        thread.start()
        port: int = server.getsockname()[1]
        found = faults(Installation(tmp_path, broker=BrokerAddress("127.0.0.1", port)))
        thread.join()
    assert "no MQTT broker" in found["broker-mqtt"].fault
    assert "1883" in found["broker-mqtt"].cure


def test_wrong_password_is_named(tmp_path: Path, broker: BrokerPlan) -> None:
    found = faults(Installation(tmp_path, broker=BrokerAddress("127.0.0.1", broker.port, "gw-a", "wrong")))
    assert set(found) == {"broker-login"}
    assert "'gw-a'" in found["broker-login"].fault


def test_long_credentials_fit_into_the_packet(tmp_path: Path, broker: BrokerPlan) -> None:
    found = faults(Installation(tmp_path, broker=BrokerAddress("127.0.0.1", broker.port, "gw-a", "长" * 200)))
    assert set(found) == {"broker-login"}


def test_occupied_port_is_named_unless_tanyun_holds_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        what = Installation(tmp_path, ports={"api": port})
        assert str(port) in faults(what)["port:api"].fault
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "processes.json").write_text(
            json.dumps({"api": {"pid": os.getpid(), "restarts": 0}})
        )
        assert faults(what) == {}


def test_gateway_is_not_asked_for_server_packages(tmp_path: Path) -> None:
    found = {one.id for one in diagnose(Installation(tmp_path, server=False), lambda: NOW_MS)}
    assert found == {"clock", "python", "data-folder", "disk"}


def test_diagnoses_are_json(tmp_path: Path) -> None:
    text = msgspec.json.encode(diagnose(Installation(tmp_path), lambda: NOW_MS))
    assert {"id", "ok", "fault", "cure"} == set(json.loads(text)[0])


def test_password_never_shows() -> None:
    assert "secret" not in repr(BrokerAddress("127.0.0.1", 1883, "gw-a", "secret"))


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(answer)
