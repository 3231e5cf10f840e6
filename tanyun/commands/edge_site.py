"""`tanyun edge scan | read | probe`: what an installer asks of a line and its meters on the day of the visit."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from edge_agent.bus import ReadFailed
from edge_agent.commission import words
from edge_agent.commission.physics import PHASES, Expected
from edge_agent.commission.probe import (
    Clamp,
    Probe,
    Timing,
    Verdict,
    expected_voltages,
    probe_meter,
)
from edge_agent.commission.read import Reader, RegisterReading, identified, open_bus, read_registers
from edge_agent.commission.scan import Found, scan_units
from edge_agent.config import Bus, EdgeConfig, PolledMeter, load_config
from edge_agent.profile import Family, Profile, fixed_profiles, load_profile
from edge_agent.profile_model import DLT645
from metering.i18n import _
from tanyun.commands.common import (
    errors_as_sentences,
    fail,
    json_option,
    print_json,
    print_table,
    start_logging,
)
from tanyun.commands.edge_status import edge_config_option
from tanyun.commands.text import example
from tanyun.supervisor import EX_CONFIG

Answer = TypeVar("Answer")
_UNITS: Final = range(1, 248)


@click.command(
    "read",
    short_help=_("Read every register of a meter now."),
    help=_("Read every register of a meter's profile once, and print the words as they are on the wire beside what they mean. "
           "Exit code 1 when a register could not be read.")
         + example("tanyun edge read tx-main", "tanyun edge read tx-main --json"),
)  # fmt: skip
@click.argument("meter")
@edge_config_option
@json_option
def read(meter: str, config_file: Path, as_json: bool) -> None:
    """Read a meter."""
    with errors_as_sentences():
        _config, bus, polled, model = meter_of(config_file, meter)

    async def visit(line: Reader) -> tuple[Profile, list[RegisterReading]]:
        profile = await identified(line, polled, model)
        return profile, await read_registers(line, polled.station, profile)

    profile, rows = on_bus(bus, visit)
    if as_json:
        print_json({"meter": meter, "profile": profile.name, "registers": msgspec.to_builtins(rows)})
    else:
        head = [_("address"), _("fc"), _("reading type"), _("type"), _("words"), _("raw"), _("value")]
        print_table(head, [_register_row(row) for row in rows])
    sys.exit(1 if any(row.error for row in rows) else 0)


def _register_row(row: RegisterReading) -> list[str]:
    if row.error is not None:
        value = row.error
    elif row.invalid or row.value is None:
        value = _("the meter says: no value")
    else:
        value = f"{row.value:.10g} {row.unit}"
    raw = "-" if row.raw is None else f"{row.raw:.10g}" if isinstance(row.raw, float) else str(row.raw)
    address, fc = (f"{row.address:08X}", "-") if row.fc == DLT645 else (str(row.address), str(row.fc))
    return [address, fc, row.reading_type, row.type, " ".join(row.words) or "-", raw, value]


class _UnitRange(click.ParamType[range]):
    name = "A-B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """`7` or `1-32`."""
        first, _dash, last = str(value).partition("-")
        if (
            first.isdecimal()
            and (last or first).isdecimal()
            and 1 <= int(first) <= int(last or first) < _UNITS.stop
        ):
            return range(int(first), int(last or first) + 1)
        text = _("{value} is no range of units; give one such as 1-32, within 1-247")
        return self.fail(text.format(value=value), param, ctx)


@click.command(
    "scan",
    short_help=_("Find the units on a bus."),
    help=_("Ask each unit on a bus for one register and show who answers, and which bundled profiles would fit it. "
           "Only reads. Stop the agent first where the line or converter takes only one master.")
         + example("tanyun edge scan --bus line1", "tanyun edge scan --bus line1 --units 1-32 --json"),
)  # fmt: skip
@click.option("--bus", "bus_id", required=True, help=_("A bus of the configuration."))
@click.option("--units", type=_UnitRange(), default="1-247", show_default=True, help=_("Units to ask."))
@click.option("--timeout-s", type=click.FloatRange(0.05, 60), default=0.5, show_default=True,
              help=_("How long to wait for a unit; slow lines need more."))  # fmt: skip
@click.option(
    "--nominal-v", type=click.FloatRange(min=1), help=_("Phase voltage that the meters should show.")
)
@edge_config_option
@json_option
def scan(
    bus_id: str, units: range, timeout_s: float, nominal_v: float | None, config_file: Path, as_json: bool
) -> None:
    """Scan a bus."""
    with errors_as_sentences():
        config = load_config(config_file)
        profiles = [load_profile(name) for name in fixed_profiles()]
    bus = _bus(config, bus_id).model_copy(update={"timeout_s": timeout_s, "retries": 0})
    expected = Expected((nominal_v,)) if nominal_v else Expected()
    found = on_bus(bus, lambda line: _scan(line, units, profiles, expected))
    if as_json:
        answers = [{**msgspec.to_builtins(item), "meter": _name(config, bus_id, item.unit)} for item in found]
        print_json({"bus": bus_id, "first": units[0], "last": units[-1], "found": answers})
        return
    click.echo(
        _("{count} of {asked} units answer on {bus}").format(count=len(found), asked=len(units), bus=bus_id)
    )
    if found:
        head = [
            _("unit"),
            _("configured as"),
            _("holding (fc 3)"),
            _("input (fc 4)"),
            _("profiles that fit, best first"),
        ]
        print_table(head, [_unit_row(config, bus_id, item) for item in found])


async def _scan(line: Reader, units: range, profiles: list[Profile], expected: Expected) -> list[Found]:
    """What was found; on a terminal each unit shows as it is asked."""
    found: list[Found] = []
    shown = sys.stderr.isatty()
    async for unit, item in scan_units(line, units, profiles, expected):
        if shown:
            text = _("unit {unit} of {last}, {count} found").format(
                unit=unit, last=units[-1], count=len(found)
            )
            click.echo(f"\r{text}\x1b[K", nl=False, err=True)
        if item is not None:
            found.append(item)
    if shown:
        click.echo("\r\x1b[K", nl=False, err=True)
    return found


def _unit_row(config: EdgeConfig, bus_id: str, item: Found) -> list[str]:
    said = {"words": _("answers"), "refused": _("refuses"), "silent": _("silent")}
    fits = ", ".join(f"{fit.profile} ({fit.held}/{fit.judged})" for fit in item.fits) or _(
        "none of the bundled ones"
    )
    name = _name(config, bus_id, item.unit) or "-"
    return [str(item.unit), name, said[item.answers[3]], said[item.answers[4]], fits]


def _name(config: EdgeConfig, bus_id: str, unit: int) -> str | None:
    return next((item.id for item in config.meters if (item.bus, item.unit) == (bus_id, unit)), None)


@click.command(
    "probe",
    short_help=_("Test a meter's register map against physics."),
    help=_("Read a meter twice and hold it against physics: voltages, frequency, sums, power against voltage × current, energy "
           "against power. Where something does not hold, the likely mistakes are tried, and the ones that repair it are named.\n\n"
           "The CT ratio cannot be read from a meter: it stays unproven until a clamp reading agrees with it. "
           "Exit code 0 when the map fits, 1 when not.")
         + example("tanyun edge probe tx-main", "tanyun edge probe tx-main --ct 80 --clamp-a 212 --clamp-phase l1"),
)  # fmt: skip
@click.argument("meter")
@click.option("--seconds", type=click.FloatRange(1, 900), default=10.0, show_default=True,
              help=_("Time between the two readings; longer at light load."))  # fmt: skip
@click.option(
    "--nominal-v",
    type=click.FloatRange(min=1),
    help=_("Phase voltage that the meter should show; 220 or 230 V unless given."),
)
@click.option(
    "--pt",
    type=click.FloatRange(min=1),
    default=1.0,
    help=_("Voltage transformer ratio, e.g. 100 for 10 kV / 100 V."),
)
@click.option("--ct", type=click.FloatRange(min=1), help=_("CT ratio of the name plate, e.g. 80 for 400/5."))
@click.option(
    "--clamp-a",
    type=click.FloatRange(min=0.001),
    help=_("What a clamp meter reads on the primary conductor, in A."),
)
@click.option(
    "--clamp-phase", type=click.Choice(PHASES), default="l1", show_default=True, help=_("Where the clamp is.")
)
@edge_config_option
@json_option
def probe(
    meter: str,
    seconds: float,
    nominal_v: float | None,
    pt: float,
    ct: float | None,
    clamp_a: float | None,
    clamp_phase: str,
    config_file: Path,
    as_json: bool,
) -> None:
    """Probe a meter."""
    with errors_as_sentences():
        _config, bus, polled, model = meter_of(config_file, meter)
    clamp = None if clamp_a is None else Clamp(clamp_a, clamp_phase, ct)

    async def visit(line: Reader) -> tuple[Profile, Probe]:
        profile = await identified(line, polled, model)
        expected = expected_voltages(profile, nominal_v, pt)
        return profile, await probe_meter(line, polled.station, profile, expected, Timing(seconds), clamp)

    profile, found = on_bus(bus, visit)
    if as_json:
        print_json({"meter": meter, "profile": profile.name, **_probe_document(found)})
    else:
        print_probe(found)
    sys.exit(0 if found.verdict is Verdict.FITS else 1)


def _probe_document(found: Probe) -> dict[str, object]:
    document: dict[str, object] = msgspec.to_builtins(found)
    texts = {
        "explanations": [words.explanation(mistakes) for mistakes in found.mistakes],
        "ratio_text": words.ratio_sentence(found.ratio),
    }
    return {**document, **texts}


def print_probe(found: Probe) -> None:
    head = [_("check"), _("result"), _("numbers")]
    rows = [
        [words.check_label(check), words.outcome_word(check.outcome), _numbers(check.numbers)]
        for check in found.checks
    ]
    print_table(head, rows)
    if found.unread:
        click.echo(_("No value: {names}").format(names=", ".join(found.unread)))
    click.echo()
    click.echo(words.verdict_sentence(found.verdict))
    for mistakes in found.mistakes:
        click.echo(_("Likely: {explanation}").format(explanation=words.explanation(mistakes)))
    if found.unexplained:
        click.echo(
            _("None of the usual mistakes explains it: is this the meter's profile (`tanyun edge scan`)? "
              "Or repeat under load, with more --seconds.")
        )  # fmt: skip
    click.echo(words.ratio_sentence(found.ratio))


def _numbers(numbers: Mapping[str, float]) -> str:
    return "  ".join(f"{name}={value:.5g}" for name, value in numbers.items())


def meter_of(config_file: Path, meter: str) -> tuple[EdgeConfig, Bus, PolledMeter, Profile | Family]:
    """The configuration, a meter in it, its bus, and its profile, or the family that it has yet to be identified in."""
    config = load_config(config_file)
    polled = next((item for item in config.meters if item.id == meter), None)
    if polled is None:
        known = ", ".join(item.id for item in config.meters)
        fail(
            _("there is no meter {meter!r} in {file}; known are {known}").format(
                meter=meter, file=config_file, known=known
            ),
            EX_CONFIG,
        )
    return config, _bus(config, polled.bus), polled, config.profiles()[meter]


def _bus(config: EdgeConfig, bus_id: str) -> Bus:
    found = next((item for item in config.buses if item.id == bus_id), None)
    if found is None:
        known = ", ".join(item.id for item in config.buses)
        fail(_("there is no bus {bus!r}; known are {known}").format(bus=bus_id, known=known), EX_CONFIG)
    return found


def on_bus(settings: Bus, ask: Callable[[Reader], Awaitable[Answer]]) -> Answer:
    """Ask on a bus that is closed afterwards; a silent meter or line is a sentence and exit code 1."""
    start_logging("WARNING")

    async def visit() -> Answer:
        with closing(open_bus(settings)) as line:
            return await ask(line)

    try:
        return asyncio.run(visit())
    except ReadFailed as error:
        text = _(
            "{bus}: {error}. Check power, wiring (A and B), unit number and baud rate; is the agent using the line?"
        )
        fail(text.format(bus=settings.id, error=error))
