"""`tanyun projector run`, `tanyun influx init | status`: the serving store behind Grafana."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from metering.i18n import _
from storage.errors import StoreError
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from tanyun.commands.common import (
    EX_FAILED,
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_role,
    load_server,
    print_json,
    print_table,
    start_logging,
    stop_event,
)
from tanyun.commands.text import example
from tanyun.config import InfluxSection, ServerConfig
from tanyun.doctor import Diagnosis
from tanyun.supervisor import EX_CONFIG

if TYPE_CHECKING:
    from storage.influx import Target

log = logging.getLogger("tanyun.projector")
_PROBE_S = 2.0
_RETRY_S = 5.0
Connected = TypeVar("Connected")


@click.group(
    short_help=_("Server role: write results to InfluxDB for Grafana."),
    help=_("The projector: copies readings, intervals, emissions and months into InfluxDB, where Grafana reads them. "
           "InfluxDB may be down or lost; nothing waits for it, and everything is written again."),
)  # fmt: skip
def projector() -> None:
    """The group."""


@projector.command(
    "run",
    short_help=_("Write to InfluxDB until stopped."),
    help=_("Run the projector until stopped. It makes its database when that is missing, writes what is new first and what it "
           "missed after, and notices an InfluxDB that has lost its data. It needs [influx] in the configuration.")
         + example("tanyun projector run --config server.toml", "tanyun projector run --rebuild"),
)  # fmt: skip
@config_option
@click.option("--rebuild", is_flag=True, help=_("Write everything again from the start, newest first."))
def run_projector(config_file: Path, rebuild: bool) -> None:
    """Run the projector."""
    from factors.table import FactorTable  # noqa: PLC0415  each role imports only what it needs
    from storage.influx import connect  # noqa: PLC0415
    from storage.influx_setup import init  # noqa: PLC0415
    from tanyun.commands.warm import warm_once  # noqa: PLC0415

    start_logging()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with errors_as_sentences():
        config, park = load_role(config_file)
        target = target_of(_section(config))
        warm_once()
        from stream.projector import Files, Loop, Projector  # noqa: PLC0415  numba has to know its cache by now

        stop = stop_event()
        writer = _waiting(lambda: connect(target), stop.wait)
        if writer is None:
            return
        files = Files(config.journal, config.ledger, config.months, config.facts, config.projection)
        api = f"http://{config.api.host}:{config.api.port}/api/v1/health/live"
        with Projector(
            park,
            files,
            writer,
            FactorTable.load(),
            prepare=lambda: init(target),
            probes={"api": lambda: _answers(api)},
        ) as running:
            Loop(running, stop.wait).run(rebuild=rebuild)


def _section(config: ServerConfig) -> InfluxSection:
    if config.influx is None:
        fail(
            _(
                "The configuration has no [influx]. Add it with the url of your InfluxDB; docs/influxdb.md shows how."
            ),
            EX_CONFIG,
        )
    return config.influx


def target_of(section: InfluxSection) -> "Target":
    """The server that the configuration names; OSError when a secret's file cannot be read."""
    from storage.influx import Target  # noqa: PLC0415

    return Target(
        section.url, section.version, section.user, section.secret(), section.org, str(section.ca_file or "")
    )


def _waiting(connect: Callable[[], Connected], wait: Callable[[float], bool]) -> Connected | None:
    """What `connect` gives, once the server answers; None when asked to stop before."""
    from storage.influx import InfluxDownError  # noqa: PLC0415

    told = False
    while True:
        try:
            return connect()
        except InfluxDownError as error:
            if not told:
                log.warning("projector_store_down error=%s", error)
            told = True
            if wait(_RETRY_S):
                return None


def _answers(url: str) -> bool:
    import httpx  # noqa: PLC0415

    try:
        return httpx.get(url, timeout=_PROBE_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@click.group(
    short_help=_("Prepare and look at the InfluxDB that Grafana reads."),
    help=_("The InfluxDB that the projector writes and Grafana reads."),
)
def influx() -> None:
    """The group."""


@influx.command(
    "init",
    short_help=_("Make database, retention and mappings."),
    help=_("Make what the projector and InfluxQL need, for the version that the server says it is: database and retention "
           "policies (1.x), buckets with retention and DBRP mappings (2.x), databases (3.x). Running it again changes nothing.")
         + example("tanyun influx init --config server.toml"),
)  # fmt: skip
@config_option
@json_option
def init_command(config_file: Path, as_json: bool) -> None:
    """Prepare."""
    from storage.influx_setup import init  # noqa: PLC0415

    with errors_as_sentences():
        config, _park = load_server(config_file)
        done = init(target_of(_section(config)))
    if as_json:
        print_json({"done": done})
    else:
        click.echo(
            "\n".join(_("made: {what}").format(what=what) for what in done)
            or _("Everything is there already.")
        )


@influx.command(
    "status",
    short_help=_("Show the server's version and how far it is written."),
    help=_("Show which InfluxDB answers, what it lacks, how far the projector has come, and lines that were refused.")
         + example("tanyun influx status --config server.toml"),
)  # fmt: skip
@config_option
@json_option
def status(config_file: Path, as_json: bool) -> None:
    """Show it."""
    from storage.influx_setup import examine  # noqa: PLC0415

    with errors_as_sentences():
        config, _park = load_server(config_file)
        target = target_of(_section(config))
        found: dict[str, Any] = {"url": target.url, "version": None, "missing": [], "error": None}
        try:
            seen = examine(target)
            found |= {"version": seen.version or seen.major, "missing": seen.missing}
        except StoreError as error:
            found["error"] = str(error)
        found |= _written(config)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["error"] is not None:
        raise SystemExit(EX_FAILED)


def _written(config: ServerConfig) -> dict[str, Any]:
    """How far the projector has come, by its own file."""
    from stream.projection.store import ProjectorStore  # noqa: PLC0415

    heads = _heads(config)
    try:
        store = ProjectorStore(config.projection, writable=False)
    except FileNotFoundError:
        return {"sources": [], "refused": 0, "dropped": 0, "refused_lines": []}
    with store:
        known = ((name, store.position(name), head) for name, head in heads.items())
        sources = [
            {"source": name, "head": head, "left": head - position.live + position.missing}
            for name, position, head in known
            if position is not None
        ]
        lines = [{"reason": item.reason, "line": item.line} for item in store.refused()]
        return {
            "sources": sources,
            "refused": store.count("refused"),
            "dropped": store.count("dropped"),
            "refused_lines": lines,
        }


def _heads(config: ServerConfig) -> dict[str, int]:
    heads: dict[str, int] = {}
    if config.ledger.exists():
        with LedgerReader(config.ledger) as ledger:
            heads |= {"ledger": ledger.change_seq(), "events": ledger.last_event()}
    if config.journal.exists():
        with JournalReader(config.journal) as journal:
            heads["journal"] = journal.last_segment()
    if heads.keys() >= {"ledger", "journal"}:
        heads["minutes"] = heads["ledger"]
    return heads


def _print(found: dict[str, Any]) -> None:
    click.echo(f"{found['url']}  {found['error'] or found['version']}")
    for what in found["missing"]:
        click.echo(_("missing: {what} (tanyun influx init makes it)").format(what=what))
    rows = [
        [
            row["source"],
            str(row["head"]),
            str(row["left"]),
            f"{100 * (1 - row['left'] / max(row['head'], 1)):.1f} %",
        ]
        for row in found["sources"]
    ]
    if rows:
        print_table([_("source"), _("newest"), _("left"), _("written")], rows)
    click.echo(_("refused lines: {refused}; too old to be kept: {dropped}").format(**found))
    for item in found["refused_lines"]:
        click.echo(f"  {item['reason']}: {item['line']}")


def check_influx(section: InfluxSection) -> Diagnosis:
    """For the doctor: does InfluxDB answer, do we know the version, is everything there?"""
    from storage.influx_setup import examine  # noqa: PLC0415

    try:
        seen = examine(target_of(section))
    except OSError as error:
        return Diagnosis(
            "influx", ok=False, fault=str(error), cure=_("make the secret's file readable for this user")
        )
    except StoreError as error:
        cure = _("start InfluxDB, and check url, version, org and the secret's file in [influx]")
        return Diagnosis("influx", ok=False, fault=str(error), cure=cure)
    version = _("InfluxDB {version}").format(version=seen.version or seen.major)
    if not seen.missing:
        return Diagnosis("influx", ok=True, fault=version)
    fault = _("{version} lacks: {missing}").format(version=version, missing="; ".join(seen.missing))
    return Diagnosis("influx", ok=False, fault=fault, cure="tanyun influx init")
