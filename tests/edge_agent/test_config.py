"""A gateway's configuration file: every mistake at once, each with its key path."""

from pathlib import Path

import pytest

from edge_agent.config import EdgeConfig, load_config
from metering.config import ConfigError
from tests.fakes.gateway import PROFILE

RIGHT = """
park = "park"
gateway = "gw"

[broker]
user = "gw"
password_file = "mqtt-password"

[outbox]
path = "outbox.db"

[[buses]]
id = "line"
host = "192.0.2.7"

[[meters]]
id = "m1"
bus = "line"
unit = 1
profile = "abb_b23"

[[meters]]
id = "m2"
bus = "line"
unit = 2
profile = "x100.toml"
read = ["energy_import_total"]
"""


def load(folder: Path, text: str) -> EdgeConfig:
    (folder / "x100.toml").write_text(PROFILE, encoding="utf-8")
    file = folder / "edge.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.file == str(folder / "edge.toml")
    return caught.value.mistakes


def test_a_right_file_is_read_and_its_paths_start_at_its_own_folder(tmp_path: Path) -> None:
    config = load(tmp_path, RIGHT)
    assert (config.outbox.path, config.broker.password_file) == (
        tmp_path / "outbox.db",
        tmp_path / "mqtt-password",
    )
    assert config.profiles()["m2"].model == "T1"
    assert (config.poll_interval_s, config.buses[0].port, config.clock.source) == (15, 502, "system")


def test_every_mistake_is_reported_at_once_with_its_key_path(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        park = "park"
        gateway = "gw"
        poll_intervall_s = 15
        [broker]
        host = "mqtt.example.org"
        user = "gw"
        password_file = "p"
        [outbox]
        path = "outbox.db"
        [clock]
        source = "stepped"
        [[buses]]
        id = "line"
        host = "192.0.2.7"
        port = 70000
        [[meters]]
        id = "m1"
        bus = "line"
        profile = "abb_b23"
        colour = "red"
        [[meters]]
        id = "m1"
        bus = "line"
        unit = 1
        profile = "abb_b99"
        [[meters]]
        id = "m3"
        bus = "lime"
        unit = 3
        profile = "abb_b23"
        read = ["energy_import_total", "happiness"]
        """,
    )
    expected = {
        "poll_intervall_s": "",
        "broker": "ca_file is needed: mqtt.example.org",
        "clock": "port is needed",
        "buses[0].port": "65535",
        "meters[0].colour": "",
        "meters[0].id, meters[1].id": "'m1' is given 2 times",
        "meters[0].unit, meters[1].unit": "'bus line unit 1' is given 2 times",
        "meters[1].profile": "bundled profiles: abb_b23",
        "meters[2].bus": "there is no bus 'lime'; known are line",
        "meters[2].read": "has no happiness",
    }
    assert len(found) == len(expected)
    for key, text in expected.items():
        assert [line for line in found if line.startswith(f"{key}: ") and text in line], (key, found)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('host = "192.0.2.7"', 'host = "192.0.2.7"\nport = 0', "buses[0].port"),
        ('host = "192.0.2.7"', 'host = "192.0.2.7"\nport = "modbus"', "buses[0].port"),
        (
            'host = "192.0.2.7"',
            'host = "192.0.2.7"\n[[buses]]\nid = "line"\nhost = "b"',
            "buses[0].id, buses[1].id",
        ),
        ("unit = 1", "unit = 0", "meters[0].unit"),
        ("unit = 1", "unit = 248", "meters[0].unit"),
        ("unit = 1", "unit = 2", "meters[0].unit, meters[1].unit"),
        ('id = "m2"', 'id = "m 2"', "meters[1].id"),
        ('id = "m2"', 'id = "a/b"', "meters[1].id"),
        ('gateway = "gw"', "", "gateway"),
        ('gateway = "gw"', 'gateway = "gw"\nwindow = 0', "window"),
        ('gateway = "gw"', 'gateway = "gw"\nack_timeout_s = 0', "ack_timeout_s"),
        ('path = "outbox.db"', 'path = "outbox.db"\nmax_bytes = 1000', "outbox.max_bytes"),
        ('user = "gw"', 'user = "gw"\ncert_file = "c"', "broker"),
        ('user = "gw"', 'user = "gw"\npassword = "secret"', "broker.password"),
        ('profile = "x100.toml"', 'profile = "y100.toml"', "meters[1].profile"),
    ],
)
def test_a_single_mistake_is_named_by_its_key_path(tmp_path: Path, old: str, new: str, key: str) -> None:
    [found] = mistakes(tmp_path, RIGHT.replace(old, new, 1))
    assert found.startswith(f"{key}: ")


def test_a_mistake_in_a_profile_file_is_reported_under_the_meter(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(PROFILE.replace('unit = "kWh"', 'unit = "kWhh"'), encoding="utf-8")
    found = mistakes(tmp_path, RIGHT.replace("x100.toml", "bad.toml"))
    assert all(line.startswith("meters[1].profile: register[0].") for line in found)


def test_a_gateway_without_meters_is_a_mistake(tmp_path: Path) -> None:
    text = RIGHT[: RIGHT.index("[[meters]]")].replace('gateway = "gw"', 'gateway = "gw"\nmeters = []')
    assert mistakes(tmp_path, text) == ["meters: at least one is needed"]


@pytest.mark.parametrize("text", ["park = ", "\udcff", "meters = 3\nbuses = [1]\n", "[meters]\nid = 3\n"])
def test_what_is_not_such_a_document_at_all_is_refused_and_not_crashed_on(tmp_path: Path, text: str) -> None:
    file = tmp_path / "edge.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.mistakes


def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_config(tmp_path / "none.toml")
