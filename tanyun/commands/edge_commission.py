"""`tanyun edge commission`: the visit to one meter as a commissioning sheet."""

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from edge_agent.commission import words
from edge_agent.commission.physics import PHASES
from edge_agent.commission.probe import Probe, Timing, Verdict, expected_voltages, probe_meter
from edge_agent.commission.proof import Comparison, Photo, Ratios, parse_ratio, prove
from edge_agent.commission.read import Reader, RegisterReading, identified, read_registers, read_serial
from edge_agent.commission.sheet import Sheet, Visit, Wanted, encode_sheet, make_sheet, ratio_statement
from edge_agent.profile import Profile
from metering.i18n import _
from metering.reading_types import INTEGRATED, READING_TYPES, Kind
from metering.roles import Role
from metering.units import UNITS
from tanyun.commands.common import errors_as_sentences, fail
from tanyun.commands.edge_site import meter_of, on_bus, print_probe
from tanyun.commands.edge_status import edge_config_option
from tanyun.commands.text import example
from tanyun.environment import VERSION

_W_PER_KW: Final = 1000.0


class _Ratio(click.ParamType[str]):
    name = "I1/I2"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`80` or `400/5`, kept as it was entered."""
        try:
            parse_ratio(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)
        return str(value)


class RoleOf(click.ParamType[tuple[str, str]]):
    name = "TOTAL=ROLE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """`energy_import_total=grid_boundary`."""
        total, _equals, role = str(value).partition("=")
        shown = [name for name, kind in READING_TYPES.items() if kind.kind is Kind.TOTAL]
        totals = [*(name for name in shown if name not in INTEGRATED.values()), *INTEGRATED]
        if total in totals and role in {str(item) for item in Role}:
            return total, role
        text = _("{value}: give TOTAL=ROLE; totals are {totals}; roles are {roles}")
        roles = ", ".join(Role)
        return self.fail(text.format(value=value, totals=", ".join(totals), roles=roles), param, ctx)


_KWH = (click.FloatRange(min=0), click.FloatRange(min=0))


@click.command(
    "commission",
    short_help=_("Read, probe and write the commissioning sheet of a meter."),
    help=_("Read every register of a meter, hold it against physics, take down what the installer enters beside it, and write the "
           "commissioning sheet as JSON. At the server `tanyun meters add SHEET` takes the meter into the registry, and "
           "`tanyun meters sheet SHEET` prints the sheet as a PDF.\n\n"
           "A ratio is proven by a clamp or the utility's meter beside it and a photo of the name plate; otherwise the sheet, and "
           "every report, says that it is not. Exit code 0 when the map fits and nothing contradicts the ratio, 1 when not; "
           "the sheet is written either way.")
         + example("tanyun edge commission tx-main --ct 400/5 --clamp-a 212 --photo plate.jpg --serial 20250817 \\",
                   "    --role energy_import_total=grid_boundary --installer 'Li Wei' --output tx-main.json"),
)  # fmt: skip
@click.argument("meter")
@click.option("--ct", type=_Ratio(), help=_("CT ratio of the name plate, e.g. 80 or 400/5."))
@click.option(
    "--pt",
    type=_Ratio(),
    default="1",
    show_default=True,
    help=_("PT ratio of the name plate, e.g. 10000/100."),
)
@click.option(
    "--direct", is_flag=True, help=_("The meter is connected directly, without current transformers.")
)
@click.option(
    "--clamp-a",
    type=click.FloatRange(min=0.001),
    help=_("What a clamp meter reads on the primary conductor, in A."),
)
@click.option(
    "--clamp-phase", type=click.Choice(PHASES), default="l1", show_default=True, help=_("Where the clamp is.")
)
@click.option(
    "--utility-kw",
    type=float,
    help=_("Power that the utility's meter in series shows now, in kW, with its own ratio applied."),
)
@click.option(
    "--utility-kwh",
    type=_KWH,
    nargs=2,
    help=_("Two readings of the utility's meter, first and last, in kWh, with its own ratio applied."),
)
@click.option("--own-kwh", type=_KWH, nargs=2, help=_("What this meter showed at those two moments, in kWh."))
@click.option(
    "--photo",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=_("Photo of the name plate: its digest enters the sheet."),
)
@click.option("--serial", default="", help=_("Serial number of the name plate."))
@click.option("--name", default="", help=_("The meter's name in reports."))
@click.option(
    "--role",
    "roles",
    type=RoleOf(),
    multiple=True,
    help=_("Role of a total, once for each, e.g. energy_import_total=sub_meter."),
)
@click.option("--parent", default="", help=_("The meter upstream of this one."))
@click.option(
    "--max-power-w", type=click.IntRange(min=1), help=_("Above this a rise of the total is implausible.")
)
@click.option("--installer", default="", help=_("Who made the visit."))
@click.option("--remarks", default="", help=_("Whatever else the next visitor should know."))
@click.option(
    "--seconds",
    type=click.FloatRange(1, 900),
    default=10.0,
    show_default=True,
    help=_("Time between the two readings; longer at light load."),
)
@click.option(
    "--nominal-v",
    type=click.FloatRange(min=1),
    help=_("Phase voltage that the meter should show; 220 or 230 V unless given."),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("The sheet; METER.json in this folder unless given."),
)
@edge_config_option
def commission(meter: str, config_file: Path, output: Path | None, **entered: Any) -> None:  # fmt: skip
    """Commission a meter."""
    target = output or Path(f"{meter}.json")
    _check(entered, target)
    sheet, found = _visited(meter, config_file, entered)
    body = encode_sheet(sheet)
    with errors_as_sentences():
        target.write_bytes(body)
    print_probe(found)
    click.echo()
    for item in sheet.proof.comparisons:
        click.echo(words.comparison_sentence(item, sheet.proof))
    click.echo(ratio_statement(sheet.proof))
    for why in sheet.proof.missing:
        click.echo("  " + words.why_sentence(why))
    text = _("{file}: sheet written, sha256 {digest}")
    click.echo(text.format(file=target, digest=hashlib.sha256(body).hexdigest()))
    sys.exit(0 if sheet.verdict is Verdict.FITS and "disagrees" not in sheet.proof.missing else 1)


def _check(entered: dict[str, Any], target: Path) -> None:
    if bool(entered["utility_kwh"]) != bool(entered["own_kwh"]):
        raise click.UsageError(_("--utility-kwh and --own-kwh belong together"))
    if entered["direct"] and (entered["ct"] or entered["pt"] != "1"):
        raise click.UsageError(_("--direct means that there are no transformers: leave out --ct and --pt"))
    if target.exists():
        fail(
            _("{file} is there already: a sheet is never overwritten; name another with --output").format(
                file=target
            )
        )


def _visited(meter: str, config_file: Path, entered: dict[str, Any]) -> tuple[Sheet, Probe]:
    """Read and probe; the sheet of it."""
    with errors_as_sentences():
        config, bus, polled, model = meter_of(config_file, meter)

    async def visit(line: Reader) -> tuple[Profile, list[RegisterReading], str, Probe]:
        profile = await identified(line, polled, model)
        expected = expected_voltages(profile, entered["nominal_v"], float(parse_ratio(entered["pt"])))
        registers = await read_registers(line, polled.station, profile)
        serial = await read_serial(line, polled.station, profile)
        found = await probe_meter(line, polled.station, profile, expected, Timing(entered["seconds"]))
        return profile, registers, serial, found

    profile, registers, serial, found = on_bus(bus, visit)
    ratios = Ratios(entered["ct"], entered["pt"], entered["direct"], profile.ratio_applied_in_meter)
    done = Visit(
        registers=registers,
        probe=found,
        proof=prove(ratios, _comparisons(profile, found, entered), _photo(entered["photo"])),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        software=f"tanyun {VERSION}",
        installer=entered["installer"],
        serial=entered["serial"],
        serial_read=serial,
        wanted=Wanted(entered["name"], dict(entered["roles"]), entered["parent"], entered["max_power_w"]),
        remarks=entered["remarks"],
    )
    return make_sheet(config, bus, polled, profile, done), found


def _comparisons(profile: Profile, found: Probe, entered: dict[str, Any]) -> list[Comparison]:
    """What was entered beside what the meter showed."""
    items = []
    if entered["clamp_a"] is not None:
        name = f"current_{entered['clamp_phase']}"
        shown, count = found.values.get(name, 0.0), _count(profile, name)
        items.append(Comparison("clamp", entered["clamp_a"], shown, "A", count, entered["clamp_phase"]))
    if entered["utility_kw"] is not None:
        shown, count = (
            found.values.get("power_active", 0.0) / _W_PER_KW,
            _count(profile, "power_active") / _W_PER_KW,
        )
        items.append(Comparison("utility_power", entered["utility_kw"], shown, "kW", count))
    if entered["utility_kwh"]:
        first, last = entered["own_kwh"]
        count = _count(profile, "energy_import_total") / _W_PER_KW
        utility = entered["utility_kwh"][1] - entered["utility_kwh"][0]
        items.append(Comparison("utility_energy", utility, last - first, "kWh", count))
    return items


def _count(profile: Profile, reading_type: str) -> float:
    """The finest step of an integer register, in its base unit; 0 for a float."""
    register = next((item for item in profile.registers if item.reading_type == reading_type), None)
    if register is None or register.type.startswith("float"):
        return 0.0
    return float(UNITS[register.unit].factor) * 10.0**register.scale


def _photo(file: Path | None) -> Photo | None:
    return None if file is None else Photo(file.name, hashlib.sha256(file.read_bytes()).hexdigest())
