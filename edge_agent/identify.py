"""Which register map a meter answers: a variant of its family, or where its SunSpec model stands. Only reads."""

from typing import Final, NamedTuple

from edge_agent.buses.errors import NoAnswer, ReadFailed, Refused
from edge_agent.buses.stations import Station
from edge_agent.plan import Block
from edge_agent.profile import Condition, Family, Profile, Variant, load_profile
from edge_agent.reader import BlockBus
from edge_agent.registers import decode

_SUNSPEC_BASES: Final = (40_000, 50_000, 0)
_SUNS: Final = [0x5375, 0x6E53]
_END: Final = 0xFFFF
_MOST_MODELS: Final = 64
_HOLDING: Final = 3


class Unidentified(ReadFailed):
    """The meter answers, but not as one of the maps it could have."""


class _Asked(NamedTuple):
    """The meter, and how often it is asked."""

    bus: BlockBus
    station: Station
    tries: int | None

    async def read(self, fc: int, addr: int, count: int) -> list[int]:
        return await self.bus.read(self.station, Block(fc, addr, count, ()), tries=self.tries)


def needs_identifying(model: Profile | Family) -> bool:
    """Whether the meter itself must say where its registers stand."""
    return isinstance(model, Family) or model.sunspec is not None


async def identify(
    bus: BlockBus, station: Station, model: Profile | Family, *, tries: int | None = None
) -> Profile:
    """The profile of the meter that answers, its addresses final; raises ReadFailed. `tries` as for a read."""
    asked = _Asked(bus, station, tries)
    profile = await _variant(asked, model) if isinstance(model, Family) else model
    return await _located(asked, profile)


async def _variant(asked: _Asked, family: Family) -> Profile:
    answers: dict[Condition, bool | ReadFailed] = {}
    for condition in dict.fromkeys(one for variant in family.variants for one in variant.match):
        answers[condition] = await _holds(asked, condition)
    failures = [said for said in answers.values() if isinstance(said, ReadFailed)]
    if len(failures) == len(answers) and failures:
        raise failures[0]
    fitting = [variant for variant in family.variants if _fits(variant, answers)]
    if len(fitting) == 1:
        return load_profile(fitting[0].profile)
    which = ", ".join(variant.profile for variant in fitting) or "none"
    every = ", ".join(variant.profile for variant in family.variants)
    raise Unidentified(
        f"unit {asked.station} answers like {which} of {family.name}; set profile to the right one of {every}"
    )


def _fits(variant: Variant, answers: dict[Condition, bool | ReadFailed]) -> bool:
    return bool(variant.match) and all(answers[condition] is True for condition in variant.match)


async def _holds(asked: _Asked, condition: Condition) -> bool | ReadFailed:
    """Whether a condition holds; silence about it is told apart, for a meter that is silent about everything."""
    try:
        words = await asked.read(condition.fc, condition.addr, condition.width)
    except Refused:
        return False
    except ReadFailed as error:
        if not error.reached:
            raise
        return error
    raw = decode(condition, words)
    return raw is not None and condition.least <= raw <= condition.most


async def _located(asked: _Asked, profile: Profile) -> Profile:
    if profile.sunspec is None:
        return profile
    models = await _models(asked)
    wanted = {profile.sunspec.model}
    wanted |= {profile.serial.sunspec_model or profile.sunspec.model} if profile.serial else set()
    missing = wanted - models.keys()
    if profile.sunspec.model in missing:
        known = ", ".join(map(str, models)) or "none"
        raise Unidentified(
            f"unit {asked.station} has no SunSpec model {profile.sunspec.model}; it has {known}"
        )
    return _moved(profile, models)


def _moved(profile: Profile, models: dict[int, int]) -> Profile:
    """Offsets become addresses. A serial number in a model that the meter lacks is left out."""
    at = models[profile.sunspec.model if profile.sunspec else 0]
    registers = tuple(
        register.model_copy(
            update={
                "addr": register.addr + at,
                "parts": tuple(part.model_copy(update={"addr": part.addr + at}) for part in register.parts),
                **{
                    key: field.model_copy(update={"addr": field.addr + at})
                    for key in ("scale_register", "unit_register")
                    if (field := getattr(register, key)) is not None
                },
            }
        )
        for register in profile.registers
    )
    serial = profile.serial
    if serial is not None:
        base = models.get(serial.sunspec_model or (profile.sunspec.model if profile.sunspec else 0))
        serial = None if base is None else serial.model_copy(update={"addr": serial.addr + base})
    return profile.model_copy(update={"registers": registers, "serial": serial, "sunspec": None})


async def _models(asked: _Asked) -> dict[int, int]:
    """SunSpec model → address of its id register; the first where one occurs twice."""
    at = await _base(asked) + len(_SUNS)
    found: dict[int, int] = {}
    for _model in range(_MOST_MODELS):
        try:
            number, length = await asked.read(_HOLDING, at, 2)
        except Refused:  # Some lists end without saying so.
            break
        if number == _END:
            break
        found.setdefault(number, at)
        at += 2 + length
        if at + 2 > 1 << 16:
            break
    return found


async def _base(asked: _Asked) -> int:
    silence: ReadFailed | None = None
    answered = False
    for base in _SUNSPEC_BASES:
        try:
            words = await asked.read(_HOLDING, base, len(_SUNS))
        except Refused:
            answered = True
            continue
        except NoAnswer as error:
            silence = error
            continue
        answered = True
        if words == _SUNS:
            return base
    if silence is not None and not answered:
        raise silence
    raise Unidentified(f"unit {asked.station} has no SunSpec map at {', '.join(map(str, _SUNSPEC_BASES))}")
