"""`tanyun profile`: look a meter's profile over before a gateway reads with it."""

from pathlib import Path

import click
import msgspec

from edge_agent.profile import bundled_families, bundled_profiles
from edge_agent.profile_lint import Finding, lint
from metering.i18n import _
from tanyun.commands.common import EX_FAILED, errors_as_sentences, json_option, print_json
from tanyun.commands.text import example


@click.group(
    short_help=_("Check the profiles that say where a meter keeps its readings."),
    help=_("A profile is the register map of a meter model, a TOML file. docs/add-a-meter.md shows how to write one."),
)  # fmt: skip
def profile() -> None:
    """The group itself does nothing."""


@profile.command(
    name="lint",
    short_help=_("Name every mistake in profiles, with its line."),
    help=_("Names every mistake in each FILE at once: registers that overlap, addresses that are document numbers, types "
           "that do not exist, totals that roll over later than their type, missing sources and confidence. Remarks say "
           "what is sound but weak.\n\nExit codes: 0 no mistake, 1 mistakes (with --strict also remarks), 78 a file cannot be read.")
         + example("tanyun profile lint x100.toml", "tanyun profile lint --json *.toml"),
)  # fmt: skip
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help=_("Remarks count as mistakes."))
@json_option
def lint_command(files: tuple[Path, ...], strict: bool, as_json: bool) -> None:
    """Lint."""
    with errors_as_sentences():
        texts = [(file, file.read_bytes()) for file in files]
    found = [(file, finding) for file, data in texts for finding in _lint(file, data)]
    if as_json:
        print_json([{"file": str(file), **msgspec.to_builtins(finding)} for file, finding in found])
    else:
        for file, finding in found:
            click.echo(_sentence(file, finding))
        click.echo(_summary(len(files), [finding for _file, finding in found]), err=True)
    if any(strict or finding.severity == "mistake" for _file, finding in found):
        raise SystemExit(EX_FAILED)


def _lint(file: Path, data: bytes) -> list[Finding]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return [Finding("mistake", "", _("is not UTF-8: {error}").format(error=error), None)]
    return lint(file.name.removesuffix(".toml"), text, file.parent)


def _sentence(file: Path, finding: Finding) -> str:
    place = f"{file}:{finding.line}" if finding.line else str(file)
    key = f"{finding.key}: " if finding.key else ""
    severity = _("mistake") if finding.severity == "mistake" else _("remark")
    return f"{place}: {severity}: {key}{finding.text}"


def _summary(files: int, found: list[Finding]) -> str:
    mistakes = sum(finding.severity == "mistake" for finding in found)
    text = _("{files} files, {mistakes} mistakes, {remarks} remarks")
    return text.format(files=files, mistakes=mistakes, remarks=len(found) - mistakes)


@profile.command(
    name="list",
    short_help=_("List the profiles that come with tanyun."),
    help=_("Lists the bundled profiles, and the names that stand for several of them.")
    + example("tanyun profile list"),
)
@json_option
def list_command(as_json: bool) -> None:
    """List."""
    names = {"profiles": bundled_profiles(), "families": bundled_families()}
    if as_json:
        print_json(names)
        return
    for name in names["profiles"]:
        click.echo(name)
    for name in names["families"]:
        click.echo(_("{name} (stands for several)").format(name=name))
