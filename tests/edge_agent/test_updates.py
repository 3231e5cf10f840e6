"""Signed configurations: what is taken, what is refused, and what the disk holds after any interruption."""

import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.config import EdgeConfig, load_config
from edge_agent.updates.bundle import MAGIC, Bundle, BundleError, pack, unpack
from edge_agent.updates.store import MOST_STARTS, State, Store
from tests.fakes.gateway import PROFILE
from verification.evidence.signing import public_pem

KEY = Ed25519PrivateKey.generate()
PEM = public_pem(KEY.public_key())
EDGE = """
park = "park"
gateway = "gw"
poll_interval_s = {interval}
broker = {{port = 1883, user = "gw", password_file = "{password}"}}
outbox = {{path = "{outbox}"}}
updates = {{key_file = "{key}", confirm_minutes = 5}}
buses = [{{id = "line", host = "127.0.0.1", port = 1}}]
meters = [{{id = "m1", bus = "line", unit = 1, profile = "{profile}"}}]
"""


class Site:
    """A gateway's disk: the installed configuration, and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "key.pem").write_bytes(PEM)
        (folder / "password").write_text("secret\n", encoding="utf-8")
        self.file = folder / "edge.toml"
        self.file.write_text(self.text(), encoding="utf-8")
        self.installed = load_config(self.file)

    def text(self, **changed: object) -> str:
        known = {
            "interval": 15,
            "password": self.folder / "password",
            "outbox": self.folder / "outbox.db",
            "key": self.folder / "key.pem",
            "profile": "eastron_sdm630",
        }
        return EDGE.format(**{**known, **changed})

    def store(self) -> Store:
        """As a start of the agent opens it."""
        return Store(self.installed, self.folder / "updates", PEM)

    def message(self, number: int = 1, **changed: Any) -> bytes:
        files = changed.pop("files", {})
        bundle = Bundle("park", "gw", number, 0, {"edge.toml": self.text(**changed), **files})
        return pack(bundle, KEY.sign)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def tried(store: Store, number: int = 1) -> EdgeConfig:
    """Put a staged one on trial; the configuration that the next run gets."""
    store.begin(number, ["m1"])
    return store.configuration()


def test_a_signed_bundle_is_staged_tried_and_confirmed(site: Site) -> None:
    store = site.store()
    assert store.stage(site.message(7, interval=30)) == 7
    assert store.configuration() == site.installed
    assert tried(store, 7).poll_interval_s == 30
    assert store.state.trial is not None
    store.confirm()
    again = site.store()
    assert again.configuration().poll_interval_s == 30
    assert (again.state.active, again.state.trial, again.state.said) == (7, None, "confirmed")


def test_profiles_and_secrets_travel_with_it_and_only_the_agent_reads_them(site: Site) -> None:
    files = {"profiles/toy.toml": PROFILE, "secrets/password": "renewed\n"}
    store = site.store()
    store.stage(site.message(1, profile="profiles/toy.toml", password="secrets/password", files=files))
    config = tried(store)
    assert config.broker.password() == "renewed"
    assert config.profiles()["m1"].vendor == "Toy"
    modes = {path.stat().st_mode & 0o777 for path in (site.folder / "updates").rglob("*") if path.is_file()}
    assert modes == {0o600}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_bundle_with_any_byte_changed_added_or_cut_is_refused(site: Site, data: st.DataObject) -> None:
    good = site.message(1)
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[at] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(changed), good[:at], good + b"\0", b""):
        with pytest.raises(BundleError):
            unpack(bad, PEM)
    assert unpack(good, PEM).number == 1


def test_another_key_is_refused_before_anything_is_unpacked(site: Site) -> None:
    bomb = MAGIC + bytes(64) + zlib.compress(b"\0" * 100_000_000)
    other = pack(Bundle("park", "gw", 1, 0, {"edge.toml": site.text()}), Ed25519PrivateKey.generate().sign)
    for message in (bomb, other):
        with pytest.raises(BundleError, match="signature is not that of the pinned key"):
            site.store().stage(message)
    assert site.store().state == State()


def test_a_signed_bundle_may_not_unpack_without_end() -> None:
    body = zlib.compress(b"\0" * 10_000_000)
    with pytest.raises(BundleError, match="larger than any configuration"):
        unpack(MAGIC + KEY.sign(MAGIC + body) + body, PEM)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "profiles/../../x.toml",
        "profiles/.x.toml",
        "secrets/a/b",
        "state.json",
        "",
        "x.py",
    ],
)
def test_files_leave_their_folder_under_no_name(site: Site, name: str) -> None:
    bundle = Bundle("park", "gw", 1, 0, {"edge.toml": site.text(), name: "x"})
    with pytest.raises(ValueError, match="not allowed"):
        pack(bundle, KEY.sign)
    body = zlib.compress(msgspec.json.encode(bundle))
    with pytest.raises(BundleError, match="not allowed"):
        site.store().stage(MAGIC + KEY.sign(MAGIC + body) + body)


def test_an_old_number_is_refused_and_the_same_one_again_is_nothing_new(site: Site) -> None:
    store = site.store()
    store.stage(site.message(5))
    assert store.stage(site.message(5)) is None
    with pytest.raises(BundleError, match="number 4 is old"):
        store.stage(site.message(4))
    tried(store, 5)
    store.roll_back("tried")
    assert site.store().stage(site.message(5)) is None  # taken back for good
    assert site.store().stage(site.message(6)) == 6


def test_everything_that_is_wrong_is_said_at_once_and_the_folder_stays_clean(site: Site) -> None:
    store = site.store()
    wrong = (
        site.text(profile="nobody").replace("unit = 1", "unit = 500").replace('id = "line"', 'id = "other"')
    )
    bundle = Bundle("park", "gw-2", 3, 0, {"edge.toml": wrong})
    with pytest.raises(BundleError) as error:
        store.stage(pack(bundle, KEY.sign))
    for part in ("park/gw-2", "meters[0].unit", "meters[0].profile", "there is no bus 'line'"):
        assert part in str(error.value), part
    assert [path.name for path in (site.folder / "updates").iterdir()] == ["state.json"]
    assert (store.state.highest, store.state.active, store.state.said) == (3, 0, "refused")


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"outbox": "/elsewhere/outbox.db"}, "outbox"),
        ({"key": "/elsewhere/key.pem"}, "updates"),
        ({"password": "secrets/none"}, "broker"),
    ],
)
def test_outbox_key_and_a_missing_password_are_not_for_a_bundle_to_change(
    site: Site, changed: dict[str, str], key: str
) -> None:
    with pytest.raises(BundleError, match=key):
        site.store().stage(site.message(1, **changed))


def test_a_smaller_outbox_is_refused_for_it_would_lose_frames(site: Site) -> None:
    text = site.text().replace('outbox.db"', 'outbox.db", max_bytes = 1000000')
    with pytest.raises(BundleError, match="outbox"):
        site.store().stage(pack(Bundle("park", "gw", 1, 0, {"edge.toml": text}), KEY.sign))


def test_a_configuration_with_which_the_agent_does_not_stay_up_is_taken_back(site: Site) -> None:
    store = site.store()
    store.stage(site.message(1, interval=30))
    tried(store)
    for _start in range(MOST_STARTS - 1):
        assert site.store().configuration().poll_interval_s == 30
    last = site.store()
    assert last.configuration() == site.installed
    assert (last.state.said, last.state.active, last.state.trial) == ("rolled_back", 0, None)


def test_one_that_is_damaged_on_the_card_falls_back_to_the_one_before(site: Site) -> None:
    store = site.store()
    for number in (1, 2):
        store.stage(site.message(number, interval=15 + number))
        tried(store, number)
        store.confirm()
    (site.folder / "updates" / "2" / "edge.toml").write_text("damaged", encoding="utf-8")
    assert site.store().configuration().poll_interval_s == 16
    (site.folder / "updates" / "1" / "edge.toml").unlink()
    assert site.store().configuration() == site.installed


def test_what_a_power_cut_left_half_written_is_removed(site: Site) -> None:
    updates = site.folder / "updates"
    (updates / ".9.new" / "profiles").mkdir(parents=True)
    (updates / ".state.new").write_text("{", encoding="utf-8")
    store = site.store()
    assert list(updates.iterdir()) == []
    assert store.stage(site.message(9)) == 9


def test_only_the_configuration_in_force_and_the_one_before_are_kept(site: Site) -> None:
    store = site.store()
    for number in (1, 2, 3):
        store.stage(site.message(number))
        tried(store, number)
        store.confirm()
    assert {path.name for path in (site.folder / "updates").iterdir()} == {"2", "3", "state.json"}


def test_a_full_disk_refuses_nothing_for_good(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    store = site.store()

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("edge_agent.updates.store.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.stage(site.message(1))
    assert store.state.highest == 0
    assert store.stage(site.message(1)) == 1
