"""Backup and restore of a server's stores while it runs: one whole copy per file, a manifest with digests, nothing half.

The copies are made in an order in which each is at most as new as the next: what follows the journal first, the journal
last, then what people attached. So a restored ledger, month or cursor never points behind the end of the restored journal,
and no finding at a file that is not there.
"""

import hashlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from storage.errors import CorruptError, StoreError
from storage.sqlite import create_private

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
STORE, CONFIG, ATTACHMENT = "store", "config", "attachment"
_FOLDERS: Final = {ATTACHMENT: "attachments"}
"""Where files of a kind lie in the backup and in the data folder, if not at its top."""
_BLOCK: Final = 1 << 20
RESTORED: Final = "restored"
"""Key in the journal's `meta`: a new value for every restore, so that gateways notice and resend."""


class Copied(msgspec.Struct, frozen=True):
    """A file of a backup."""

    name: str
    size: int
    sha256: str
    kind: str
    """`store` (SQLite) and `attachment` go into the data folder, `config` (text) where the configuration is."""

    def under(self, folder: Path) -> Path:
        """Its place in a backup or a data folder."""
        return folder / _FOLDERS.get(self.kind, "") / self.name


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds, and how far its journal and ledger reach."""

    format: int
    program: str
    created_ms: int
    files: tuple[Copied, ...]
    journal_id: str = ""
    segments: int = 0
    chain: str = ""
    """The journal's hash chain after its last segment, hex."""

    def of(self, kind: str) -> list[Copied]:
        """The files of one kind."""
        return [item for item in self.files if item.kind == kind]


def back_up(
    stores: Iterable[Path],
    configs: Mapping[str, Path],
    folder: Path,
    program: str,
    now_ms: int,
    attachments: Path | None = None,
) -> Manifest:
    """Copy stores (in this order; the journal comes last), configuration files and the folder of attachments into a new folder.

    The folder appears under its name only when everything in it is synced, and only its owner may read it: users and
    their sessions are in it. FileExistsError when it is there already, StoreError when a store cannot be read.
    """
    if folder.exists():
        raise FileExistsError(17, "exists already; a backup never overwrites another one", str(folder))
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    draft.mkdir(parents=True, mode=0o700)
    try:
        files = [_copied(_copy_store(store, draft / store.name), STORE) for store in stores]
        files += [_copied(_copy_file(path, draft / name), CONFIG) for name, path in configs.items()]
        files += _copy_attachments(attachments, draft)
        manifest = _with_heads(Manifest(FORMAT, program, now_ms, tuple(files)), draft)
        _write(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        _sync_folder(draft)
        draft.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def check(folder: Path) -> Manifest:
    """The manifest of a backup whose every file is as it was written; CorruptError names the first that is not."""
    manifest = read_manifest(folder)
    for item in manifest.files:
        path = item.under(folder)
        if not path.is_file():
            msg = f"{path}: is missing from the backup; use another backup"
            raise CorruptError(msg)
        if _copied(path, item.kind) != item:
            msg = f"{path}: is not what the manifest says (size or SHA-256); use another backup"
            raise CorruptError(msg)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest; StoreError when there is none or it is of another format."""
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        msg = f"{folder}: holds no {MANIFEST}, so it is no backup of ours, or one that was not finished"
        raise StoreError(msg) from error
    except msgspec.DecodeError as error:
        msg = f"{path}: cannot be read ({error}); use another backup"
        raise CorruptError(msg) from error
    if manifest.format != FORMAT:
        msg = f"{path}: format {manifest.format}, this program reads {FORMAT}; install release {manifest.program}"
        raise StoreError(msg)
    for item in manifest.files:
        if item.name != Path(item.name).name or item.name in {"", ".", ".."}:
            msg = f"{path}: the name {item.name!r} leads out of the backup; use another backup"
            raise CorruptError(msg)
    return manifest


def restore(folder: Path, to: Path, now_ms: int) -> Manifest:
    """Put a backup's stores into a data folder that has none of them; all of them or none, and its attachments before them.

    The journal is marked as restored and says so with an event; nobody is signed in any more. FileExistsError names what is in
    the way. What root restores belongs to the owner of the data folder, whose programs write it.
    """
    manifest = check(folder)
    stores = manifest.of(STORE)
    for item in stores:
        for name in (item.name, f"{item.name}-wal", f"{item.name}-shm"):
            if (to / name).exists():
                text = "is there already, and nothing is overwritten: stop tanyun and move it away, or name another folder"
                raise FileExistsError(17, text, str(to / name))
    to.mkdir(parents=True, exist_ok=True)
    _restore_attachments(manifest, folder, to)
    drafts = [(to / f".{item.name}.restoring", to / item.name) for item in stores]
    try:
        for item, (draft, _path) in zip(stores, drafts, strict=True):
            _copy_file(folder / item.name, draft)
            if item.name == "journal.db":
                _mark_restored(draft, now_ms)
            if item.name == "users.db":
                _end_what_opens(draft)
            _look_whole(draft)
        for draft, path in drafts:
            draft.rename(path)
    finally:
        for draft, _path in drafts:
            draft.unlink(missing_ok=True)
    _sync_folder(to)
    return manifest


def _copy_attachments(source: Path | None, folder: Path) -> list[Copied]:
    """Files that are never changed, each named by its digest; a draft that is being written is none yet."""
    if source is None or not source.is_dir():
        return []
    to = folder / _FOLDERS[ATTACHMENT]
    to.mkdir(mode=0o700)
    names = sorted(path.name for path in source.iterdir() if not path.name.startswith("."))
    copied = [_copied(_copy_file(source / name, to / name), ATTACHMENT) for name in names]
    _sync_folder(to)
    return copied


def _restore_attachments(manifest: Manifest, folder: Path, to: Path) -> None:
    """One that is there already has the same name, hence the same bytes."""
    home, items = to / _FOLDERS[ATTACHMENT], manifest.of(ATTACHMENT)
    if not items:
        return
    if not home.exists():
        home.mkdir(mode=0o700)
        shutil.chown(home, to.stat().st_uid, to.stat().st_gid)
    for item in items:
        path = home / item.name
        if not path.exists():
            _copy_file(item.under(folder), path.with_name(f".{item.name}.draft")).replace(path)
    _sync_folder(home)


def _copy_store(path: Path, to: Path) -> Path:
    """A copy as of one moment, by SQLite itself; writers go on meanwhile. Then looked at as a whole."""
    if not path.exists():
        raise FileNotFoundError(2, "there is no such store", str(path))
    create_private(to)
    try:
        source = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
        target = sqlite3.connect(to)
        try:
            source.backup(
                target
            )  # All pages in one step: a step per page would start over with every commit.
            target.execute(
                "PRAGMA journal_mode=DELETE"
            )  # One file; the writer that opens it goes back to WAL.
        finally:
            target.close()
            source.close()
    except sqlite3.DatabaseError as error:
        msg = f"{path}: cannot be copied ({error}); look at it with `tanyun doctor --deep`"
        raise StoreError(msg) from error
    _sync(to)
    _look_whole(to)
    return to


def _look_whole(path: Path) -> None:
    db = sqlite3.connect(path)
    try:
        verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    finally:
        db.close()
    if verdict != "ok":
        msg = f"{path}: the copy is damaged ({verdict}); look at its source with `tanyun doctor --deep`"
        raise CorruptError(msg)


def _mark_restored(path: Path, now_ms: int) -> None:
    """From now on its acks bear another name, so that gateways take a lower number as what it is."""
    db = sqlite3.connect(path)
    try:
        with db:
            row = db.execute("SELECT coalesce(max(id), 0) FROM segment").fetchone()
            db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (RESTORED, secrets.token_hex(4)))
            detail = msgspec.json.encode({"segments": row[0]}).decode()
            sql = "INSERT INTO event(t_ms, gateway, kind, detail) VALUES(?, '', 'journal_restored', ?)"
            db.execute(sql, (now_ms, detail))
    finally:
        db.close()
    _sync(path)


def _end_what_opens(path: Path) -> None:
    """Sessions and one-time codes that were open then: some were ended or used since, and nobody knows which."""
    db = sqlite3.connect(path)
    try:
        with db:
            there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            for table in sorted(there & {"session", "invitation", "welcome"}):
                db.execute(f"DELETE FROM {table}")  # noqa: S608  one of these three
    finally:
        db.close()
    _sync(path)


def _with_heads(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest with the head of the journal that it holds."""
    journal = folder / "journal.db"
    if not journal.exists():
        return manifest
    id_, segments, chain = _head(journal)
    return msgspec.structs.replace(manifest, journal_id=id_, segments=segments, chain=chain)


def _head(journal: Path) -> tuple[str, int, str]:
    db = sqlite3.connect(journal)
    try:
        id_ = db.execute("SELECT value FROM meta WHERE key='journal_id'").fetchone()[0]
        row = db.execute("SELECT id, hex(chain) FROM segment ORDER BY id DESC LIMIT 1").fetchone()
    finally:
        db.close()
    return str(id_), row[0] if row else 0, row[1].lower() if row else ""


def _copied(path: Path, kind: str) -> Copied:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return Copied(path.name, path.stat().st_size, digest.hexdigest(), kind)


def _copy_file(path: Path, to: Path) -> Path:
    create_private(to)
    with path.open("rb") as source, to.open("wb") as target:
        shutil.copyfileobj(source, target, _BLOCK)
    _sync(to)
    return to


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    _sync(path)
