"""`tanyun grafana push` and `tanyun grafana render`: dashboards and alerts into a Grafana, or into files it reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metering.config import load_toml
from metering.i18n import _
from tanyun.commands.common import errors_as_sentences, fail, json_option, print_json
from tanyun.commands.text import example

if TYPE_CHECKING:
    from dashboards.push import Change
    from dashboards.settings import GrafanaSettings

_MARKS = {"create": "+", "update": "~", "delete": "-", "same": "="}
_SHOWN = 5

settings_option = click.option(
    "-c", "--config", "config_file", type=click.Path(path_type=Path), default="grafana.toml", show_default=True,
    envvar="TANYUN_GRAFANA_CONFIG", help=_("Where Grafana and InfluxDB are, and who is told (TOML)."),
)  # fmt: skip


@click.group(
    short_help=_("Put dashboards and alerts into Grafana."),
    help=_(
        "Dashboards and alert rules: into a running Grafana with `push`, or as files it reads at its start with `render`."
    ),
)
def grafana() -> None:
    """The group."""


def _settings(config_file: Path) -> "GrafanaSettings":
    from dashboards.settings import GrafanaSettings  # noqa: PLC0415  only these commands need it

    return load_toml(config_file, GrafanaSettings)


@grafana.command(
    "push",
    short_help=_("Create or update everything of ours in a running Grafana."),
    help=_("Create or update data source, folder, dashboards, alert rules, contact points, mute timings and our notification "
           "route.\n\nWhat differs is shown first. Only what begins with `tanyun-` is ever touched; doing it again changes nothing.")
         + example("tanyun grafana push --dry-run", "tanyun grafana push --config /etc/tanyun/grafana.toml"),
)  # fmt: skip
@settings_option
@click.option("--dry-run", is_flag=True, help=_("Show what would change, and change nothing."))
@click.option(
    "--force",
    is_flag=True,
    help=_("Write what looks equal, too: after a password or a robot's address has changed."),
)
@json_option
def push(config_file: Path, dry_run: bool, force: bool, as_json: bool) -> None:
    """Push."""
    from dashboards.push import Pusher  # noqa: PLC0415
    from dashboards.wanted import wanted  # noqa: PLC0415

    with errors_as_sentences():
        settings = _settings(config_file)
        with _connected(settings) as api:
            changes = Pusher(api, wanted(settings), force=force).plan()
            if not as_json:
                _show(changes)
            if not dry_run:
                _apply(changes, quiet=as_json)
    if as_json:
        print_json([_plain(change) for change in changes])


def _plain(change: "Change") -> dict[str, object]:
    found = list(change.differences)
    return {"kind": change.kind, "name": change.name, "action": change.action, "differences": found}


@contextmanager
def _connected(settings: "GrafanaSettings") -> Iterator[Any]:
    """Grafana's API, closed at the end; what goes wrong is a sentence."""
    import niquests  # noqa: PLC0415
    from grafana_client.api import GrafanaApi  # noqa: PLC0415  only this command needs it
    from grafana_client.client import GrafanaException  # noqa: PLC0415

    from dashboards.wanted import read_secret  # noqa: PLC0415

    untyped: Any = GrafanaApi
    url = settings.url.rstrip("/")
    api = untyped.from_url(f"{url}/", credential=read_secret(settings.token_file), timeout=30)
    try:
        yield api
    except GrafanaException as error:
        fail(_("Grafana at {url} refuses: {reason}").format(url=url, reason=error.message))
    except niquests.exceptions.RequestException as error:
        fail(_("Grafana at {url} does not answer: {reason}").format(url=url, reason=type(error).__name__))
    finally:
        api.client.s.close()


def _apply(changes: "list[Change]", *, quiet: bool) -> None:
    from grafana_client.client import GrafanaException  # noqa: PLC0415

    todo = [change for change in changes if change.action != "same"]
    for change in todo:
        try:
            change.apply()
        except GrafanaException as error:
            text = _(
                "{kind} {name}: Grafana refuses: {reason}. What was written before it stays; push again once it is cured."
            )
            fail(text.format(kind=change.kind, name=change.name, reason=error.message))
    if not quiet:
        click.echo(
            _("{count} written, {same} unchanged").format(count=len(todo), same=len(changes) - len(todo))
        )


def _show(changes: "list[Change]") -> None:
    for change in changes:
        if change.action == "same":
            continue
        click.echo(f"{_MARKS[change.action]} {change.kind} {change.name}")
        for line in change.differences[:_SHOWN]:
            click.echo(f"    {line}")
        if len(change.differences) > _SHOWN:
            click.echo("    " + _("and {count} more").format(count=len(change.differences) - _SHOWN))


@grafana.command(
    "render",
    short_help=_("Write everything as files that Grafana reads at its start."),
    help=_("Write provisioning files and dashboards into FOLDER. Grafana reads FOLDER/provisioning at its start "
           "(its setting `provisioning`).\n\nThe file with contact points holds the robots' addresses: keep it readable "
           "for Grafana only. Files replace the organisation's whole notification policy tree; `push` keeps what others put there.")
         + example("tanyun grafana render /etc/grafana/tanyun"),
)  # fmt: skip
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@settings_option
@click.option(
    "--dashboards-at", help=_("Where Grafana sees FOLDER/dashboards, if elsewhere, e.g. in its container.")
)
@json_option
def render(folder: Path, config_file: Path, dashboards_at: str | None, as_json: bool) -> None:
    """Render."""
    from dashboards.provisioning import write  # noqa: PLC0415

    with errors_as_sentences():
        paths = write(_settings(config_file), folder, dashboards_at or str(folder.resolve() / "dashboards"))
    if as_json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            click.echo(str(path))
