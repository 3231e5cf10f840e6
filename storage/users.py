"""Who may come in: users, their sessions and known devices, keys of machines, invitations of gateways.

One SQLite file, written by the API and by the command line, each in transactions of milliseconds: the one file with two
writers (docs/decisions/0016). Nothing in it opens a door by itself: passwords are argon2id hashes, of what is random
(session tokens, keys, codes) only a SHA-256 is kept, and the secret of a second factor is worth nothing without the first.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from storage.sqlite import Store, create_private, open_writer, transaction

SCHEMA_VERSION: Final = 3
_SECOND_FACTOR: Final = """
CREATE TABLE second_factor(
  user TEXT PRIMARY KEY, secret BLOB NOT NULL, used_step INTEGER NOT NULL, created_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE recovery_code(
  user TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(user, digest)) WITHOUT ROWID;
"""
_WELCOME: Final = """
CREATE TABLE welcome(user TEXT PRIMARY KEY, digest BLOB NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;
"""
_STEPS: Final = {1: _SECOND_FACTOR, 2: _WELCOME}
_SCHEMA: Final = (
    """
CREATE TABLE user(
  name TEXT PRIMARY KEY, password TEXT, subject TEXT UNIQUE, disabled INTEGER NOT NULL, created_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE user_grant(
  user TEXT NOT NULL, role TEXT NOT NULL, tenant TEXT NOT NULL, PRIMARY KEY(user, role, tenant)) WITHOUT ROWID;
CREATE TABLE session(
  digest BLOB PRIMARY KEY, user TEXT NOT NULL, created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX session_of_user ON session(user);
CREATE TABLE device(
  digest BLOB PRIMARY KEY, user TEXT NOT NULL, created_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE key(
  id TEXT PRIMARY KEY, label TEXT NOT NULL, digest BLOB NOT NULL, permissions TEXT NOT NULL,
  created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, revoked_ms INTEGER) WITHOUT ROWID;
CREATE TABLE key_grant(
  key TEXT NOT NULL, role TEXT NOT NULL, tenant TEXT NOT NULL, PRIMARY KEY(key, role, tenant)) WITHOUT ROWID;
CREATE TABLE invitation(
  gateway TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, sealed BLOB NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;
"""
    + _SECOND_FACTOR
    + _WELCOME
)
_IS_WELCOME: Final = (
    "SELECT 1 FROM welcome JOIN user ON user.name=welcome.user "
    "WHERE user.name=? AND digest=? AND expires_ms>? AND NOT disabled AND subject IS NULL"
)
DEVICES_KEPT: Final = 10
"""Known devices of one user; the oldest is forgotten first."""

Grants = tuple[tuple[str, str], ...]
"""(role, tenant); the table of roles is the API's."""


class UserRow(msgspec.Struct, frozen=True, gc=False):
    """A user. `password` is an argon2 hash, None for one who signs in elsewhere, as `subject` (OpenID Connect)."""

    name: str
    password: str | None
    subject: str | None
    disabled: bool
    created_ms: int
    grants: Grants = ()

    def __repr__(self) -> str:
        """Without the hash."""
        return f"UserRow({self.name!r}, disabled={self.disabled}, grants={self.grants})"


class KeyRow(msgspec.Struct, frozen=True, gc=False):
    """A machine's key; the secret part is known to the machine alone."""

    id: str
    label: str
    digest: bytes
    permissions: tuple[str, ...]
    created_ms: int
    expires_ms: int
    revoked_ms: int | None
    grants: Grants = ()


class SessionRow(msgspec.Struct, frozen=True, gc=False):
    """Somebody who has signed in."""

    digest: bytes
    user: str
    created_ms: int
    seen_ms: int


class UserStore(Store):
    """The file of users. Created when missing, readable for its owner only."""

    def __init__(self, path: Path) -> None:
        create_private(path)
        super().__init__(open_writer(path, _SCHEMA, SCHEMA_VERSION, _STEPS))

    # Users.

    def add_user(self, row: UserRow) -> None:
        """A new user; sqlite3.IntegrityError when the name or the subject is taken."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO user(name, password, subject, disabled, created_ms) VALUES(?,?,?,?,?)",
                (row.name, row.password, row.subject, row.disabled, row.created_ms),
            )
            self._grant("user", row.name, row.grants)

    def user(self, name: str) -> UserRow | None:
        """The user of that name."""
        return self._user("name=?", name)

    def user_of_subject(self, subject: str) -> UserRow | None:
        """The user who signs in elsewhere under that subject."""
        return self._user("subject=?", subject)

    def users(self) -> list[UserRow]:
        """All users by name."""
        names = [name for (name,) in self._db.execute("SELECT name FROM user ORDER BY name").fetchall()]
        return [row for name in names if (row := self.user(name)) is not None]

    def set_password(self, name: str, hashed: str, *, keep_session: bytes = b"") -> bool:
        """Another password; ends the user's sessions but the one kept, forgets the devices and a one-time code. False: no such user."""
        with transaction(self._db):
            found = self._db.execute("UPDATE user SET password=? WHERE name=?", (hashed, name)).rowcount
            self._db.execute("DELETE FROM welcome WHERE user=?", (name,))
            self._end(name, keep_session)
        return bool(found)

    def rehash(self, name: str, old: str, hashed: str) -> None:
        """The same password hashed with newer settings; sessions go on. Nothing, when the password has changed meanwhile."""
        with transaction(self._db):
            self._db.execute("UPDATE user SET password=? WHERE name=? AND password=?", (hashed, name, old))

    def set_disabled(self, name: str, *, disabled: bool) -> bool:
        """Let in no more (which ends every session), or again. False: no such user."""
        with transaction(self._db):
            found = self._db.execute("UPDATE user SET disabled=? WHERE name=?", (disabled, name)).rowcount
            if disabled:
                self._end(name)
                self._db.execute("DELETE FROM welcome WHERE user=?", (name,))
        return bool(found)

    def set_grants(self, name: str, grants: Grants) -> bool:
        """Replace the roles of a user. False: no such user."""
        with transaction(self._db):
            found = self._db.execute("SELECT 1 FROM user WHERE name=?", (name,)).fetchone()
            if found:
                self._db.execute("DELETE FROM user_grant WHERE user=?", (name,))
                self._grant("user", name, grants)
        return bool(found)

    # One-time codes with which a user makes a password.

    def set_welcome(self, name: str, digest: bytes, expires_ms: int) -> None:
        """A code in place of any before."""
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO welcome VALUES(?,?,?)", (name, digest, expires_ms))

    def welcome_ends_ms(self, name: str) -> int | None:
        """When the user's code ends or ended; None without one."""
        row = self._db.execute("SELECT expires_ms FROM welcome WHERE user=?", (name,)).fetchone()
        return int(row[0]) if row else None

    def is_welcome(self, name: str, digest: bytes, now_ms: int) -> bool:
        """Whether that code would open now."""
        return self._db.execute(_IS_WELCOME, (name, digest, now_ms)).fetchone() is not None

    def redeem_welcome(self, name: str, digest: bytes, hashed: str, now_ms: int) -> bool:
        """The code's use: the password that its bearer has chosen; ends the user's sessions. False: it does not open (any more)."""
        with transaction(self._db):
            if self._db.execute(_IS_WELCOME, (name, digest, now_ms)).fetchone() is None:
                return False
            self._db.execute("DELETE FROM welcome WHERE user=?", (name,))
            self._db.execute("UPDATE user SET password=? WHERE name=?", (hashed, name))
            self._end(name)
        return True

    # Second factors.

    def set_second_factor(self, name: str, secret: bytes, recovery: Iterable[bytes], now_ms: int) -> bool:
        """A new secret and new recovery codes in place of any before; ends the user's sessions. False: no such user."""
        with transaction(self._db):
            self._drop_second_factor(name)
            if self._user("name=?", name) is None:
                return False
            self._db.execute("INSERT INTO second_factor VALUES(?,?,?,?)", (name, secret, 0, now_ms))
            self._db.executemany("INSERT INTO recovery_code VALUES(?,?)", [(name, code) for code in recovery])
            self._end(name)
        return True

    def drop_second_factor(self, name: str) -> bool:
        """The password alone opens again. False: there was none."""
        with transaction(self._db):
            return self._drop_second_factor(name)

    def _drop_second_factor(self, name: str) -> bool:
        self._db.execute("DELETE FROM recovery_code WHERE user=?", (name,))
        return bool(self._db.execute("DELETE FROM second_factor WHERE user=?", (name,)).rowcount)

    def second_factor(self, name: str) -> bytes | None:
        """The user's secret; None without a second factor."""
        row = self._db.execute("SELECT secret FROM second_factor WHERE user=?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def use_step(self, name: str, step: int) -> bool:
        """Whether a code of that step opens: each step once, and none before it any more."""
        with transaction(self._db):
            query = "UPDATE second_factor SET used_step=? WHERE user=? AND used_step<?"
            return bool(self._db.execute(query, (step, name, step)).rowcount)

    def use_recovery_code(self, name: str, digest: bytes) -> int | None:
        """How many are left once this one is used up; None when it is none."""
        with transaction(self._db):
            query = "DELETE FROM recovery_code WHERE user=? AND digest=?"
            if not self._db.execute(query, (name, digest)).rowcount:
                return None
            row = self._db.execute("SELECT count(*) FROM recovery_code WHERE user=?", (name,)).fetchone()
        return int(row[0])

    # Sessions and known devices.

    def add_session(self, row: SessionRow, device: bytes) -> None:
        """Somebody has signed in, from a device that is known from now on."""
        with transaction(self._db):
            self._db.execute("INSERT INTO session VALUES(?,?,?,?)", msgspec.structs.astuple(row))
            self._db.execute(
                "INSERT OR REPLACE INTO device VALUES(?,?,?)", (device, row.user, row.created_ms)
            )
            self._db.execute(
                "DELETE FROM device WHERE user=? AND digest NOT IN "
                "(SELECT digest FROM device WHERE user=? ORDER BY created_ms DESC, digest LIMIT ?)",
                (row.user, row.user, DEVICES_KEPT),
            )

    def session(self, digest: bytes) -> SessionRow | None:
        """The session of that digest, however old."""
        row = self._db.execute(
            "SELECT digest, user, created_ms, seen_ms FROM session WHERE digest=?", (digest,)
        ).fetchone()
        return SessionRow(*row) if row else None

    def touch_session(self, digest: bytes, now_ms: int) -> None:
        """It was used."""
        with transaction(self._db):
            self._db.execute("UPDATE session SET seen_ms=? WHERE digest=?", (now_ms, digest))

    def end_session(self, digest: bytes) -> None:
        """Signed out."""
        with transaction(self._db):
            self._db.execute("DELETE FROM session WHERE digest=?", (digest,))

    def end_sessions(self, *, created_before_ms: int, seen_before_ms: int) -> None:
        """Remove what has run out."""
        with transaction(self._db):
            self._db.execute(
                "DELETE FROM session WHERE created_ms<? OR seen_ms<?", (created_before_ms, seen_before_ms)
            )

    def knows_device(self, digest: bytes, user: str) -> bool:
        """True when that user has signed in from there before."""
        query = "SELECT 1 FROM device WHERE digest=? AND user=?"
        return self._db.execute(query, (digest, user)).fetchone() is not None

    # Keys of machines.

    def add_key(self, row: KeyRow) -> None:
        """A new key."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO key(id, label, digest, permissions, created_ms, expires_ms) VALUES(?,?,?,?,?,?)",
                (row.id, row.label, row.digest, " ".join(row.permissions), row.created_ms, row.expires_ms),
            )
            self._grant("key", row.id, row.grants)

    def key(self, id: str) -> KeyRow | None:
        """The key of that id, whether it still opens or not."""
        row = self._db.execute(
            "SELECT id, label, digest, permissions, created_ms, expires_ms, revoked_ms FROM key WHERE id=?",
            (id,),
        ).fetchone()
        if row is None:
            return None
        id, label, digest, permissions, created_ms, expires_ms, revoked_ms = row
        only, grants = tuple(permissions.split()), self._grants("key", id)
        return KeyRow(id, label, digest, only, created_ms, expires_ms, revoked_ms, grants)

    def keys(self) -> list[KeyRow]:
        """All keys, oldest first."""
        ids = [id for (id,) in self._db.execute("SELECT id FROM key ORDER BY created_ms, id").fetchall()]
        return [row for id in ids if (row := self.key(id)) is not None]

    def revoke_key(self, id: str, now_ms: int) -> bool:
        """From now on it opens nothing. False: no such key, or revoked before."""
        with transaction(self._db):
            query = "UPDATE key SET revoked_ms=? WHERE id=? AND revoked_ms IS NULL"
            return bool(self._db.execute(query, (now_ms, id)).rowcount)

    # Invitations of gateways.

    def invite(self, gateway: str, digest: bytes, sealed: bytes, expires_ms: int) -> None:
        """An invitation, in place of an earlier one of the same gateway."""
        with transaction(self._db):
            self._db.execute(
                "INSERT OR REPLACE INTO invitation VALUES(?,?,?,?)", (gateway, digest, sealed, expires_ms)
            )

    def withdraw(self, gateway: str) -> bool:
        """The code of that gateway opens nothing any more. False when there was none."""
        with transaction(self._db):
            return bool(self._db.execute("DELETE FROM invitation WHERE gateway=?", (gateway,)).rowcount)

    def redeem(self, digest: bytes, now_ms: int) -> tuple[str, bytes] | None:
        """Gateway and sealed credentials of a code, once: they are gone with this call. None: unknown, used or too old."""
        with transaction(self._db):
            self._db.execute("DELETE FROM invitation WHERE expires_ms<=?", (now_ms,))
            row = self._db.execute(
                "SELECT gateway, sealed FROM invitation WHERE digest=?", (digest,)
            ).fetchone()
            self._db.execute("DELETE FROM invitation WHERE digest=?", (digest,))
        return (row[0], row[1]) if row else None

    def _user(self, where: str, value: str) -> UserRow | None:
        query = f"SELECT name, password, subject, disabled, created_ms FROM user WHERE {where}"  # noqa: S608  ours
        row = self._db.execute(query, (value,)).fetchone()
        if row is None:
            return None
        name, password, subject, disabled, created_ms = row
        return UserRow(name, password, subject, bool(disabled), created_ms, self._grants("user", name))

    def _grants(self, table: str, owner: str) -> Grants:
        query = f"SELECT role, tenant FROM {table}_grant WHERE {table}=? ORDER BY role, tenant"  # noqa: S608  ours
        return tuple((role, tenant) for role, tenant in self._db.execute(query, (owner,)))

    def _grant(self, table: str, owner: str, grants: Grants) -> None:
        query = f"INSERT OR IGNORE INTO {table}_grant VALUES(?,?,?)"
        self._db.executemany(query, [(owner, role, tenant) for role, tenant in grants])

    def _end(self, user: str, keep: bytes = b"") -> None:
        self._db.execute("DELETE FROM session WHERE user=? AND digest<>?", (user, keep))
        self._db.execute("DELETE FROM device WHERE user=?", (user,))
