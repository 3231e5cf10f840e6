"""Who may come in: users, sessions, devices, keys, invitations."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.users import DEVICES_KEPT, KeyRow, SessionRow, UserRow, UserStore

ANN = UserRow("ann", "hash", None, False, 1, (("operator", "*"),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UserStore]:
    with UserStore(tmp_path / "users.db") as found:
        found.add_user(ANN)
        yield found


def session(store: UserStore, digest: bytes, user: str = "ann", t_ms: int = 10) -> None:
    store.add_session(SessionRow(digest, user, t_ms, t_ms), b"device of " + digest)


def test_a_user_is_found_by_name_and_by_subject_and_only_once(store: UserStore) -> None:
    store.add_user(UserRow("li", None, "https://op|7", False, 2))
    assert store.user("ann") == ANN
    assert store.user("nobody") is None
    found = store.user_of_subject("https://op|7")
    assert found is not None
    assert found.name == "li"
    with pytest.raises(sqlite3.IntegrityError):
        store.add_user(ANN)
    assert [row.name for row in store.users()] == ["ann", "li"]


def test_other_roles_replace_all_earlier_ones(store: UserStore) -> None:
    assert store.set_grants("ann", (("enterprise", "e-1"), ("enterprise", "e-2")))
    found = store.user("ann")
    assert found is not None
    assert found.grants == (("enterprise", "e-1"), ("enterprise", "e-2"))
    assert not store.set_grants("nobody", ())


def test_a_new_password_ends_every_session_but_the_one_kept_and_forgets_devices(store: UserStore) -> None:
    session(store, b"one")
    session(store, b"two")
    assert store.set_password("ann", "other", keep_session=b"two")
    assert (store.session(b"one"), store.session(b"two") is not None) == (None, True)
    assert not store.knows_device(b"device of one", "ann")


def test_a_password_changed_meanwhile_is_not_undone_by_a_rehash(store: UserStore) -> None:
    store.set_password("ann", "new")
    store.rehash("ann", "hash", "hash, but stronger")
    found = store.user("ann")
    assert found is not None
    assert found.password == "new"


def test_a_disabled_user_has_no_sessions(store: UserStore) -> None:
    session(store, b"one")
    assert store.set_disabled("ann", disabled=True)
    assert store.session(b"one") is None


def test_only_the_newest_devices_are_known(store: UserStore) -> None:
    for number in range(DEVICES_KEPT + 3):
        session(store, b"%03d" % number, t_ms=number)
    known = [store.knows_device(b"device of %03d" % number, "ann") for number in range(DEVICES_KEPT + 3)]
    assert known == [False] * 3 + [True] * DEVICES_KEPT
    assert not store.knows_device(b"device of 005", "somebody else")


def test_sessions_that_ran_out_are_removed(store: UserStore) -> None:
    session(store, b"old", t_ms=10)
    session(store, b"new", t_ms=100)
    store.end_sessions(created_before_ms=50, seen_before_ms=0)
    assert (store.session(b"old"), store.session(b"new") is not None) == (None, True)


def test_a_key_is_revoked_once(store: UserStore) -> None:
    key = KeyRow("k", "prometheus", b"digest", ("metrics.view",), 1, 9, None, (("operator", "*"),))
    store.add_key(key)
    assert store.key("k") == key
    assert (store.revoke_key("k", 5), store.revoke_key("k", 6)) == (True, False)
    rows = store.keys()
    assert [row.revoked_ms for row in rows] == [5]


def test_an_invitation_is_redeemed_once_and_in_time(store: UserStore) -> None:
    store.invite("gw-a", b"first", b"sealed 1", 100)
    store.invite("gw-a", b"second", b"sealed 2", 100)
    assert store.redeem(b"first", 50) is None  # replaced
    assert store.redeem(b"second", 50) == ("gw-a", b"sealed 2")
    assert store.redeem(b"second", 50) is None
    store.invite("gw-a", b"third", b"sealed 3", 100)
    assert store.redeem(b"third", 100) is None
    assert not store.withdraw("gw-a")


def test_the_file_is_its_owners_alone_and_hides_hashes_in_its_repr(store: UserStore, tmp_path: Path) -> None:
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}
    assert "hash" not in repr(store.user("ann"))
