"""`tanyun backup` and `tanyun restore`: the server's stores, copied while it runs, and put back."""

import time
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import click

from metering.i18n import _
from metering.intervals import iso
from storage import backup as copies
from storage.backup import Manifest
from tanyun.commands.common import config_option, errors_as_sentences, fail, load_server
from tanyun.commands.text import example
from tanyun.config import ServerConfig, load_server_config
from tanyun.environment import VERSION
from tanyun.moving import move_in, not_here
from tanyun.people import record

_LAST: Final = ("months.db", "ledger.db", "journal.db")
"""In this order: each may be older than the next, never newer."""
_OUTBOX: Final = "outbox"
_CONFIG, _REGISTRY, _DELIVERY = "server.toml", "park.toml", "delivery.toml"
UTC: Final = ZoneInfo("UTC")


@click.command(
    short_help=_("Copy the server's stores while it runs."),
    help=_("Copy journal, ledger, closed months and every other store of this server into a new FOLDER, with what people attached, "
           "the registry and the configuration, while everything runs. A manifest holds the SHA-256 of each file. Passwords, keys and the "
           "outboxes of gateways are not in it. A folder that exists is not touched.")
         + example("tanyun backup /mnt/backup/tanyun-2026-11-20", "tanyun backup --config /etc/tanyun/server.toml /mnt/backup/today"),
)  # fmt: skip
@click.argument("folder", type=click.Path(path_type=Path))
@config_option
def backup(folder: Path, config_file: Path) -> None:
    """Copy."""
    with errors_as_sentences():
        config, _park = load_server(config_file)
        configs = {_CONFIG: config_file, _REGISTRY: config.registry}
        if config.delivery is not None:
            configs[_DELIVERY] = config.delivery
        try:
            made = copies.back_up(stores_of(config), configs, folder, VERSION, _now_ms(), config.attachments)
        except FileExistsError as error:
            fail(f"{error.filename}: {error.strerror}")
    _say(made)
    click.echo(_("Backup complete: {folder}").format(folder=folder))


@click.command(
    short_help=_("Put a backup back."),
    help=_("Check the backup in FOLDER against its manifest and put its stores into the data folder of the configuration. "
           "Where there is no configuration yet, as on a new machine, that of the backup and its registry are put there first. "
           "Stop tanyun before. A store that is there is never overwritten: move it away yourself. Afterwards the gateways send "
           "again what the restored journal does not have. Nobody is signed in any more, and no one-time code opens.")
         + example("tanyun restore /mnt/backup/tanyun-2026-11-20 --config /etc/tanyun/server.toml",
                   "tanyun restore ./tanyun-2026-11-20 --into ~/tanyun"),
)  # fmt: skip
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help=_(
        "On another machine, as another user: everything goes below this folder, and the paths in its server.toml say so."
    ),
)
@config_option
def restore(folder: Path, into: Path | None, config_file: Path) -> None:
    """Put back."""
    with errors_as_sentences():
        try:
            manifest = copies.check(folder)
            if into is not None:
                config_file = into / _CONFIG
                move_in(folder, config_file)
            written = _put_configs(folder, config_file)
            config = load_server_config(config_file)
            copies.restore(folder, config.data, _now_ms())
            record(config.audit, "backup.restore", str(folder), made=iso(manifest.created_ms, UTC))
        except FileExistsError as error:
            fail(f"{error.filename}: {error.strerror}")
    _say(manifest)
    for path in written:
        click.echo(_("written: {path}; check its addresses and password files").format(path=path))
    for key, path in not_here(config):
        click.echo(_("not here yet: {path} ({key})").format(path=path, key=key))
    text = _(
        "Users and keys are as they were at {time}: look whether somebody was shut out since (`tanyun user list`, `tanyun key list`)."
    )
    click.echo(text.format(time=iso(manifest.created_ms, UTC)))
    text = _("Restored into {data}. Start tanyun; the gateways send what came after the backup.")
    click.echo(text.format(data=config.data))


def stores_of(config: ServerConfig) -> list[Path]:
    """Every store of a server in the order of copying. Outboxes, which the demo keeps in the same folder, are the gateways'."""
    found = {path.name: path for path in config.data.glob("*.db") if not path.name.startswith(_OUTBOX)}
    last = [found.pop(name) for name in _LAST if name in found]
    return [*(found[name] for name in sorted(found)), *last]


def _put_configs(folder: Path, config_file: Path) -> list[Path]:
    """Configuration and registry where there are none yet; what was written."""
    written: list[Path] = []
    if not config_file.exists():
        config_file.parent.mkdir(parents=True, exist_ok=True)
        config_file.write_bytes((folder / _CONFIG).read_bytes())
        written.append(config_file)
    config = load_server_config(config_file)
    for name, path in ((_REGISTRY, config.registry), (_DELIVERY, config.delivery)):
        if path is not None and not path.exists() and (folder / name).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((folder / name).read_bytes())
            written.append(path)
    return written


def _say(manifest: Manifest) -> None:
    attached = manifest.of(copies.ATTACHMENT)
    for item in manifest.files:
        if item not in attached:
            click.echo(f"  {item.name:20} {item.size:>14,}  {item.sha256[:16]}")
    if attached:
        text = _("  attachments: {count} files, {size:,} bytes")
        click.echo(text.format(count=len(attached), size=sum(item.size for item in attached)))
    text = _("  made {time} by release {program}; journal {journal} up to segment {segment}")
    click.echo(
        text.format(
            time=iso(manifest.created_ms, UTC), program=manifest.program, journal=manifest.journal_id or "-",
            segment=manifest.segments,
        )
    )  # fmt: skip


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
