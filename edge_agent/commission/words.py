"""The words of a probe: its checks, its verdicts, and the mistakes with their cures."""

from collections.abc import Sequence

from edge_agent.commission.alternatives import Group, Mistake
from edge_agent.commission.physics import Check, Outcome
from edge_agent.commission.probe import Ratio, RatioState, Verdict
from edge_agent.commission.proof import UNPROVEN, Comparison, Proof, Why
from metering.i18n import _


def check_label(check: Check) -> str:
    """What a check looks at."""
    return {
        "readable": _("the meter has every register of the profile"),
        "voltage": _("voltages are near nominal"),
        "frequency": _("frequency is near 50 Hz"),
        "magnitude": _("currents are of a possible size"),
        "power_sum": _("the phase powers add up to the total power"),
        "power_within_ui": _("power is no more than voltage × current, and no small part of it"),
        "power_factor": _("power / (voltage × current) is the power factor shown"),
        "direction": _("power flows in the same direction on all phases"),
        "phase_angles": _("voltages and currents belong to the same phases"),
        "totals_rise": _("no energy total falls"),
        "energy_rate": _("the energy total rises at the rate of the power"),
    }[check.id]


def outcome_word(outcome: Outcome) -> str:
    """What became of a check."""
    return {
        Outcome.HELD: _("holds"),
        Outcome.BROKEN: _("DOES NOT HOLD"),
        Outcome.NOT_JUDGED: _("not judged"),
    }[outcome]


def verdict_sentence(verdict: Verdict) -> str:
    """The result of a probe."""
    return {
        Verdict.FITS: _("The register map fits this meter."),
        Verdict.DOES_NOT_FIT: _("What was read does not fit. Do not leave it like this."),
        Verdict.NOT_JUDGED: _(
            "Nothing could be judged: the profile has no voltage, frequency or power, or there is no load."
        ),
    }[verdict]


def ratio_sentence(ratio: Ratio) -> str:
    """What is known of the CT ratio."""
    numbers = {"clamp": f"{ratio.clamp_a or 0:.4g}", "expected": f"{ratio.expected_a or 0:.4g}",
               "suggested": f"{ratio.suggested or 0:.4g}"}  # fmt: skip
    if ratio.state is RatioState.PROVEN:
        text = _("CT ratio: the clamp ({clamp} A) agrees with the meter ({expected} A).")
        return text.format(**numbers)
    if ratio.state is RatioState.CONTRADICTED:
        text = _(
            "CT ratio wrong: the clamp says {clamp} A, meter and ratio say {expected} A. {suggested} would agree."
        )
        return text.format(**numbers)
    if ratio.clamp_a is None:
        return f"{UNPROVEN}. " + _(
            "A meter cannot prove it: give a clamp reading with --clamp-a, and the ratio with --ct."
        )
    if ratio.suggested is None:
        return f"{UNPROVEN}. " + _(
            "The meter shows too little current to compare with the clamp: repeat under load."
        )
    text = _(
        "Meter and clamp agree with a ratio of {suggested}: compare it with the name plate, then give it with --ct."
    )
    return f"{UNPROVEN}. " + text.format(**numbers)


def _group_word(group: Group) -> str:
    return {
        "all": _("all registers"),
        "energy": _("the energy totals"),
        "gauges": _("everything but the totals"),
        "voltage": _("voltages"),
        "current": _("currents"),
        "power": _("powers"),
        "frequency": _("frequency"),
    }[group]


def mistake_sentence(mistake: Mistake) -> str:
    """One likely mistake and its cure."""
    text = {
        "words_swapped": _("words swapped in {group}: the other word_order makes physics hold"),
        "bytes_swapped": _("bytes swapped in {group}: the other byte_order makes physics hold"),
        "words_and_bytes_swapped": _("words and bytes swapped in {group}: the other word_order and byte_order make physics hold"),
        "off_by_one": _("off by one in {group}: addresses {shift:+d} make physics hold"),
        "scale": _("scale of {group}: values × 10^{power} make physics hold (scale {power:+d})"),
        "reversed_ct": _("reversed CT on {phases}: the current runs through it backwards; turn it round, or swap its two wires"),
        "phase_registers_permuted": _("phase powers in another order than voltages and currents: l1, l2, l3 read {phases}"),
        "phases_swapped": _("phases swapped: {phases} have each other's current transformer or voltage lead"),
    }[mistake.id]  # fmt: skip
    return text.format(
        group=_group_word(mistake.group),
        shift=mistake.shift,
        power=mistake.power_of_ten,
        phases=", ".join(phase.upper() for phase in mistake.phases),
    )


def explanation(mistakes: Sequence[Mistake]) -> str:
    """Mistakes that only together explain what was read."""
    return _("; and ").join(mistake_sentence(mistake) for mistake in mistakes)


def why_sentence(why: Why) -> str:
    """One reason why a ratio is not proven, with its cure."""
    return {
        "no_ratio": _("no ratio was entered: give --ct, or --direct for a meter without current transformers"),
        "no_comparison": _("nothing was read elsewhere: a clamp (--clamp-a) or the utility's meter (--utility-kw, --utility-kwh)"),
        "too_coarse": _("the meter showed too little to compare: repeat under load"),
        "pt_needs_utility": _("a clamp says nothing of the voltage transformer: compare with the utility's meter"),
        "disagrees": _("what was read elsewhere is not the meter's value times the ratio"),
        "no_photo": _("there is no photo of the name plate (--photo)"),
    }[why]  # fmt: skip


def comparison_sentence(item: Comparison, proof: Proof) -> str:
    """One comparison in numbers."""
    source = {
        "clamp": _("clamp on {phase}"),
        "utility_power": _("utility meter, power"),
        "utility_energy": _("utility meter, energy"),
    }[item.kind].format(phase=item.phase.upper())
    ratio = item.ratio_of(*proof.ratios.to_apply)
    text = _("{source}: {reference:.5g} {unit}; meter {shown:.5g} {unit} × {ratio} = {expected:.5g} {unit}")
    expected = float(item.shown) * float(ratio)
    return text.format(source=source, reference=item.reference, unit=item.unit, shown=item.shown,
                       ratio=ratio, expected=expected)  # fmt: skip
