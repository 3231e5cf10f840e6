"""`tanyun user | key | audit`: who may come in, and who did what."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from api.people import PeopleError
from api.rights import Permission, Role
from metering.i18n import _
from storage.audit import AuditLog, Entry
from storage.users import Grants, UserStore
from tanyun import people
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
    print_table,
)
from tanyun.commands.text import example
from tanyun.config import load_server_config

_ROLES = click.Choice([role.value for role in Role])
_ROLE_HELP = _("The role; may be given several times.")
_ENTERPRISE_HELP = _(
    "The enterprise that the role is for; may be given several times. Without it: the whole park."
)
Command = Callable[..., Any]


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        with errors_as_sentences():
            yield
    except PeopleError as error:
        fail(str(error))


def _tenancy(command: Command) -> Command:
    command = click.option("--enterprise", "enterprises", multiple=True, help=_ENTERPRISE_HELP)(command)
    return click.option("--role", "roles", multiple=True, required=True, type=_ROLES, help=_ROLE_HELP)(
        command
    )


def _new_password(command: Command) -> Command:
    command = click.option(
        "--password-file", type=click.File("r", encoding="utf-8"),
        help=_("Read the password from the first line of this file, - for stdin."),
    )(command)  # fmt: skip
    return click.option("--generate", is_flag=True, help=_("Make a password and show it once."))(command)


def _password(password_file: Any, *, generate: bool) -> str:
    """The password from the file, a new one, or one that is typed twice."""
    if password_file is not None:
        return str(password_file.readline().rstrip("\r\n"))
    if generate:
        made = secrets.token_urlsafe(15)
        click.echo(_("password (shown this once): {password}").format(password=made))
        return made
    if not sys.stdin.isatty():
        fail(_("no terminal to type a password at: give --generate or --password-file"), 2)
    return str(click.prompt(_("Password"), hide_input=True, confirmation_prompt=True))


@click.group(
    short_help=_("Users of page and API."),
    help=_("Users of page and API: who signs in with a name and a password, and in which roles. "
           "Run it as the user that the API runs as. There is no default user: make the first administrator here."),
)  # fmt: skip
def user() -> None:
    """The group."""


@user.command(
    "add",
    short_help=_("Add a user."),
    help=_("Add a user with roles for the whole park or for single enterprises.")
         + example("tanyun user add ann --role administrator", "tanyun user add li --role enterprise --enterprise ent-a"),
)  # fmt: skip
@click.argument("name")
@_tenancy
@_new_password
@click.option(
    "--subject", help=_("Who the user is at the OpenID provider: such a user has no password here.")
)
@config_option
def add_user(
    name: str, roles: tuple[str, ...], enterprises: tuple[str, ...], password_file: Any, generate: bool,
    subject: str | None, config_file: Path,
) -> None:  # fmt: skip
    """Add a user."""
    with _sentences():
        config, park = load_server(config_file)
        grants = people.grants_for(park, roles, enterprises)
        password = _password(password_file, generate=generate) if subject is None else None
        people.acting_on(config).add(name, grants, password, subject)
    click.echo(_("added {name}: {grants}").format(name=name, grants=_told(grants)))


@user.command("list", short_help=_("List the users."), help=_("List the users and their roles."))
@json_option
@config_option
def list_users(as_json: bool, config_file: Path) -> None:
    """List the users."""
    with _sentences(), UserStore(load_server_config(config_file).users) as store:
        rows = store.users()
    if as_json:
        print_json(
            [{"name": r.name, "disabled": r.disabled, "grants": [list(g) for g in r.grants]} for r in rows]
        )
        return
    head = [_("user"), _("roles"), _("state")]
    print_table(head, [[r.name, _told(r.grants), _("disabled") if r.disabled else _("active")] for r in rows])


@user.command(
    "disable",
    short_help=_("Let a user in no more."),
    help=_("Let a user in no more; open sessions end at once."),
)
@click.argument("name")
@config_option
def disable_user(name: str, config_file: Path) -> None:
    """Disable a user."""
    with _sentences():
        people.acting_on(load_server_config(config_file)).set_disabled(name, disabled=True)


@user.command("enable", short_help=_("Let a user in again."), help=_("Let a disabled user in again."))
@click.argument("name")
@config_option
def enable_user(name: str, config_file: Path) -> None:
    """Enable a user."""
    with _sentences():
        people.acting_on(load_server_config(config_file)).set_disabled(name, disabled=False)


@user.command(
    "passwd", short_help=_("Set a password."), help=_("Set another password; the user's sessions end.")
)
@click.argument("name")
@_new_password
@config_option
def passwd(name: str, password_file: Any, generate: bool, config_file: Path) -> None:
    """Set a password."""
    with _sentences():
        config = load_server_config(config_file)
        people.acting_on(config).set_password(name, _password(password_file, generate=generate))


@user.command(
    "second-factor",
    short_help=_("Give a user a second factor."),
    help=_("Give a user a second factor (TOTP, RFC 6238) and print, once, what the user's app takes and the recovery codes; any "
           "factor before is void, and open sessions end. From then on the password alone lets nobody in. `second_factor_roles` in "
           "[api] of server.toml demands it of whole roles.")
         + example("tanyun user second-factor ann", "tanyun user second-factor ann | qrencode -t UTF8 -r /dev/stdin",
                   "tanyun user second-factor ann --off"),
)  # fmt: skip
@click.argument("name")
@click.option("--off", is_flag=True, help=_("Take it away, e.g. when phone and recovery codes are lost."))
@config_option
def second_factor(name: str, *, off: bool, config_file: Path) -> None:
    """Give or take a second factor."""
    with _sentences():
        config, park = load_server(config_file)
        if off:
            people.acting_on(config).drop_second_factor(name)
            return
        link, codes = people.acting_on(config).set_second_factor(name, f"tanyun {park.id}")
    click.echo(link)
    click.echo(_("recovery codes, each good once (shown this once):"), err=True)
    for code in codes:
        click.echo(f"  {code}", err=True)


@user.command(
    "role", short_help=_("Set a user's roles."), help=_("Set a user's roles, in place of all earlier ones.")
)
@click.argument("name")
@_tenancy
@config_option
def role(name: str, roles: tuple[str, ...], enterprises: tuple[str, ...], config_file: Path) -> None:
    """Set roles."""
    with _sentences():
        config, park = load_server(config_file)
        grants = people.grants_for(park, roles, enterprises)
        people.acting_on(config).set_grants(name, grants)
    click.echo(f"{name}: {_told(grants)}")


@click.group(
    short_help=_("Keys with which machines ask the API."),
    help=_(
        "Keys with which machines ask the API, as `Authorization: Bearer KEY`. Only a hash is stored; every key ends."
    ),
)
def key() -> None:
    """The group."""


@key.command(
    "add",
    short_help=_("Make a key."),
    help=_("Make a key and print it, once.")
         + example("tanyun key add prometheus --role operator --only metrics.view > /etc/prometheus/tanyun-key"),
)  # fmt: skip
@click.argument("label")
@_tenancy
@click.option(
    "--only", "permissions", multiple=True, type=click.Choice([item.value for item in Permission]),
    help=_("Narrow the key to this permission of its roles; may be given several times."),
)  # fmt: skip
@click.option(
    "--days", type=click.IntRange(1, 3650), default=365, show_default=True, help=_("How long it opens.")
)
@config_option
def add_key(
    label: str, roles: tuple[str, ...], enterprises: tuple[str, ...], permissions: tuple[str, ...], days: int,
    config_file: Path,
) -> None:  # fmt: skip
    """Make a key."""
    with _sentences():
        config, park = load_server(config_file)
        grants = people.grants_for(park, roles, enterprises)
        id_, text = people.acting_on(config).add_key(label, grants, permissions, days=days)
    click.echo(_("key {id}; it is shown this once, on the next line").format(id=id_), err=True)
    click.echo(text)


@key.command("list", short_help=_("List the keys."), help=_("List the keys, without what opens."))
@json_option
@config_option
def list_keys(as_json: bool, config_file: Path) -> None:
    """List the keys."""
    with _sentences(), UserStore(load_server_config(config_file).users) as store:
        rows = store.keys()
    now = people.now_ms()
    states = [
        _("revoked") if r.revoked_ms else _("ended") if r.expires_ms <= now else _("active") for r in rows
    ]
    if as_json:
        print_json([
            {"id": r.id, "label": r.label, "expires_ms": r.expires_ms, "revoked_ms": r.revoked_ms,
             "permissions": list(r.permissions), "grants": [list(g) for g in r.grants]}
            for r in rows
        ])  # fmt: skip
        return
    print_table([_("key"), _("label"), _("roles"), _("until"), _("state")], [
        [r.id, r.label, _told(r.grants), _time(r.expires_ms), state] for r, state in zip(rows, states, strict=True)
    ])  # fmt: skip


@key.command("revoke", short_help=_("Revoke a key."), help=_("From now on the key opens nothing."))
@click.argument("id")
@config_option
def revoke_key(id: str, config_file: Path) -> None:
    """Revoke a key."""
    with _sentences():
        people.acting_on(load_server_config(config_file)).revoke_key(id)


@click.group(
    short_help=_("Who did what, and when."),
    help=_(
        "The audit log: sign-ins, refusals, changes, approvals, exports. It can only grow, and its entries are chained."
    ),
)
def audit() -> None:
    """The group."""


@audit.command(
    "show", short_help=_("Show the last entries."), help=_("Show the last entries of the audit log.")
)
@click.option("--last", type=click.IntRange(1, 100_000), default=50, show_default=True, help=_("How many."))
@json_option
@config_option
def show(last: int, as_json: bool, config_file: Path) -> None:
    """Show the last entries."""
    with _sentences(), AuditLog(load_server_config(config_file).audit, writable=False) as log:
        entries = log.newest(last)
    if as_json:
        print_json([_entry(entry) for entry in entries])
        return
    head = ["#", _("time"), _("who"), _("what"), _("target"), _("outcome"), _("from"), _("detail")]
    print_table(head, [
        [str(e.id), _time(e.t_ms), e.actor, e.action, e.target, e.outcome, e.address, e.detail] for e in entries
    ])  # fmt: skip


@audit.command(
    short_help=_("Check the chain."),
    help=_("Compute every hash of the audit log again. Prints number and hash of the last entry: keep them elsewhere, "
           "and a log that was rebuilt as a whole shows too (--head)."),
)  # fmt: skip
@click.option(
    "--head",
    "kept",
    metavar="NUMBER:HASH",
    help=_("A head that was printed earlier: it must still be in the log."),
)
@config_option
def verify(kept: str | None, config_file: Path) -> None:
    """Check the chain."""
    with _sentences(), AuditLog(load_server_config(config_file).audit, writable=False) as log:
        count = log.verify()
        number, digest = log.head()
        if kept is not None:
            wanted, _colon, hash_ = kept.partition(":")
            found = log.entries(int(wanted) - 1, 1) if wanted.isdecimal() else []
            if not found or found[0].hash.hex() != hash_:
                fail(
                    _("entry {number} is not the one that was kept: the log was rebuilt or cut").format(
                        number=wanted
                    )
                )
    click.echo(_("{count} entries, every hash is right; head {number}:{hash}").format(
        count=count, number=number, hash=digest.hex()))  # fmt: skip


def _told(grants: Grants) -> str:
    return ", ".join(role if tenant == "*" else f"{role}@{tenant}" for role, tenant in grants)


def _time(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _entry(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__[:-1]} | {"hash": entry.hash.hex()}
