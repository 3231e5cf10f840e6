"""Facts against each other and against the park: what one row by itself cannot show."""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta

from metering.i18n import _
from metering.reading_types import READING_TYPES
from metering.registry import Park
from storage.facts.fact import Fact, State
from storage.facts.kinds import BenchmarkFact, BillFact, CertificateFact, EnterpriseFact, InspectionFact
from storage.facts.series import SeriesFact
from storage.facts.state import Facts
from storage.facts.substitution import ApprovalFact, SubstitutionFact
from storage.facts.tariff import TariffFact


def mistakes(fresh: Sequence[Fact], known: Facts, park: Park) -> list[tuple[int, str]]:
    """(index in `fresh`, what is wrong), all of them. Of enterprises that are not in `park` nothing is told."""
    return [
        *_unknown(fresh, park),
        *_twice(fresh),
        *_claimed_twice(fresh, known, park),
        *_overlapping(fresh, known),
        *_two_factors(fresh, known),
        *_codes(fresh, known, park),
    ]


def _unknown(fresh: Sequence[Fact], park: Park) -> Iterator[tuple[int, str]]:
    """Subjects, meters and reading types that the park does not have."""
    enterprises, meters = {e.id for e in park.enterprises}, {m.id for m in park.meters}
    known: dict[str, Collection[str]] = {
        "enterprise": enterprises,
        "meter": meters,
        "scope": {*enterprises, park.id},
    }
    text = _("there is no {what} {name!r} in the park's registry file")
    for i, fact in enumerate(fresh):
        if fact.subject not in known[fact.SUBJECT] and not isinstance(fact, BenchmarkFact):
            yield i, text.format(what=fact.SUBJECT, name=fact.subject)
        if isinstance(fact, TariffFact | SeriesFact) and fact.meter and not _owns(park, fact):
            text_ = _("{enterprise} has no meter {meter}")
            yield i, text_.format(enterprise=fact.enterprise, meter=fact.meter)
        if isinstance(fact, BillFact) and fact.meter not in meters:
            yield i, text.format(what="meter", name=fact.meter)
        elif isinstance(fact, BillFact | InspectionFact | SubstitutionFact | ApprovalFact):
            meter = park.meter(fact.meter)
            if meter is not None and fact.reading_type not in meter.roles:
                yield (
                    i,
                    _("{meter} has no {reading_type}").format(
                        meter=fact.meter, reading_type=fact.reading_type
                    ),
                )
            elif fact.reading_type not in READING_TYPES:
                yield i, text.format(what="reading_type", name=fact.reading_type)


def _owns(park: Park, fact: TariffFact | SeriesFact) -> bool:
    meter = park.meter(fact.meter)
    return meter is not None and park.enterprise_of(meter) == fact.enterprise


def _twice(fresh: Sequence[Fact]) -> Iterator[tuple[int, str]]:
    """The same fact given twice in one go."""
    first: dict[tuple[str, str, str, str], int] = {}
    for i, fact in enumerate(fresh):
        place = fact.KIND, fact.subject, fact.key, str(fact.valid_from) if isinstance(fact, State) else ""
        if first.setdefault(place, i) != i:
            yield (
                i,
                _("{kind} {subject} {key} is given twice").format(
                    kind=fact.KIND, subject=fact.subject, key=fact.key
                ),
            )


def _claimed_twice(fresh: Sequence[Fact], known: Facts, park: Park) -> Iterator[tuple[int, str]]:
    """A certificate counts once in the whole park, whoever claims it and for whatever month."""
    claims = known.with_(fresh).of(CertificateFact)
    for i, fact in enumerate(fresh):
        if not isinstance(fact, CertificateFact):
            continue
        for other in claims:
            same = other.enterprise == fact.enterprise and other.first == fact.first
            if same or not _overlap(fact, other):
                continue
            if other.enterprise not in {e.id for e in park.enterprises}:
                yield i, _("some of these certificates are claimed already, by another enterprise")
            else:
                text = _("certificates {first} to {last} are claimed already, by {enterprise} for {month}")
                yield (
                    i,
                    text.format(
                        first=other.first, last=other.last, enterprise=other.enterprise, month=other.month
                    ),
                )


def _overlap(a: CertificateFact, b: CertificateFact) -> bool:
    (prefix, first), (_p, last) = a.numbers
    (other, other_first), (_q, other_last) = b.numbers
    return prefix == other and first <= other_last and other_first <= last


def _overlapping(fresh: Sequence[Fact], known: Facts) -> Iterator[tuple[int, str]]:
    """Two bills of one metering point over the same days."""
    bills = known.with_(fresh).of(BillFact)
    for i, fact in enumerate(fresh):
        if not isinstance(fact, BillFact):
            continue
        for other in bills:
            point = (other.meter, other.reading_type) == (fact.meter, fact.reading_type)
            if point and other.number != fact.number and fact.start < other.end and other.start < fact.end:
                last = other.end - timedelta(days=1)
                text = _("bill {number} covers {start} to {end} of {meter} already")
                yield i, text.format(number=other.number, start=other.start, end=last, meter=other.meter)


def _two_factors(fresh: Sequence[Fact], known: Facts) -> Iterator[tuple[int, str]]:
    """Two declared series of one subject over the same time: no rule says which one counts."""
    series = known.with_(fresh).of(SeriesFact)
    for i, fact in enumerate(fresh):
        if not isinstance(fact, SeriesFact):
            continue
        for other in series:
            place = (other.enterprise, other.meter) == (fact.enterprise, fact.meter)
            if place and other.start != fact.start and fact.start < other.end and other.start < fact.end:
                text = _(
                    "a declared series of {enterprise} {meter} from {start} to {end} is there already: withdraw it first"
                )
                yield (
                    i,
                    text.format(
                        enterprise=other.enterprise, meter=other.meter, start=other.start, end=other.end
                    ),
                )


def _codes(fresh: Sequence[Fact], known: Facts, park: Park) -> Iterator[tuple[int, str]]:
    """One credit code, one enterprise."""
    named = {enterprise.id for enterprise in park.enterprises}
    owners = {fact.credit_code: fact.enterprise for fact in known.of(EnterpriseFact)}
    for i, fact in enumerate(fresh):
        if (
            isinstance(fact, EnterpriseFact)
            and (owner := owners.setdefault(fact.credit_code, fact.enterprise)) != fact.enterprise
        ):
            yield (
                i,
                _("credit code {code} is that of {enterprise} already").format(
                    code=fact.credit_code, enterprise=owner if owner in named else _("another enterprise")
                ),
            )
