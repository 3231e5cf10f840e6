"""Profiles: which reading type a meter model keeps at which register. TOML data, all mistakes at once."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from edge_agent.plan import plan
from edge_agent.profile_mistakes import family_mistakes, mistakes_of
from edge_agent.profile_model import (
    DLT645,
    Condition,
    Family,
    Field,
    Forbidden,
    Limits,
    Pattern,
    Profile,
    Register,
    SerialNumber,
    Variant,
)
from edge_agent.profile_rows import profile_rows
from edge_agent.wiretypes import WIRE
from metering.i18n import _

__all__ = [
    "DLT645", "WIRE", "Condition", "Family", "Field", "Forbidden", "Limits", "Pattern", "Profile", "ProfileError",
    "Register", "SerialNumber", "Variant", "bundled_families", "bundled_profiles", "fixed_profiles", "load_model", "load_profile",
    "parse_model", "parse_profile", "profiles_of",
]  # fmt: skip


class ProfileError(Exception):
    """A profile that cannot be used; its author repairs it. `mistakes` are `key path: what is wrong`."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        super().__init__("\n  ".join([_("profile {name} has mistakes:").format(name=name), *mistakes]))
        self.name = name
        self.mistakes = mistakes


def _folder() -> Traversable:
    return resources.files("edge_agent") / "profiles"


def _names(folder: Traversable) -> list[str]:
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def bundled_profiles() -> list[str]:
    """Names of the profiles that come with tanyun."""
    return _names(_folder())


def fixed_profiles() -> list[str]:
    """Those of them that say themselves at which Modbus addresses a meter answers: what a scan can try."""
    profiles = map(load_profile, bundled_profiles())
    return [profile.name for profile in profiles if profile.protocol == "modbus" and profile.sunspec is None]


def bundled_families() -> list[str]:
    """Names that stand for several of them."""
    return _names(_folder() / "families")


def load_profile(name_or_path: str | Path) -> Profile:
    """A bundled profile by name, or one from a `.toml` file; raises ProfileError with every mistake in it."""
    model = load_model(name_or_path)
    if isinstance(model, Profile):
        return model
    text = _("stands for several register maps; name one of them: {names}")
    raise ProfileError(
        model.name, [text.format(names=", ".join(variant.profile for variant in model.variants))]
    )


def load_model(name_or_path: str | Path) -> Profile | Family:
    """A profile, or a family of them; raises ProfileError with every mistake in it."""
    name = Path(name_or_path).name.removesuffix(".toml")
    try:
        document = tomllib.loads(_text(name_or_path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(name, [_("not a TOML file: {error}").format(error=error)]) from error
    folder = Path(name_or_path).parent if str(name_or_path).endswith(".toml") else None
    return parse_model(name, document, folder)


def profiles_of(model: Profile | Family, folder: Path | None = None) -> list[Profile]:
    """The profile itself, or those of a family in its order; raises ProfileError."""
    if isinstance(model, Profile):
        return [model]
    return [load_profile(_beside(variant.profile, folder)) for variant in model.variants]


def _beside(name: str, folder: Path | None) -> str | Path:
    return folder / name if folder is not None and name.endswith(".toml") else name


def _text(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    try:
        if name.endswith(".toml"):
            return Path(name_or_path).read_text(encoding="utf-8")
        families = bundled_families()
        folder = _folder() / "families" if name in families else _folder()
        return (folder / f"{name}.toml").read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted([*bundled_profiles(), *bundled_families()]))
        text = _("cannot be read ({reason}); bundled profiles: {known}").format(
            reason=error.strerror, known=known
        )
        raise ProfileError(name, [text]) from error


def parse_model(name: str, document: Mapping[str, Any], folder: Path | None = None) -> Profile | Family:
    """The profile or family that a parsed TOML document describes; raises ProfileError with every mistake in it."""
    if "variant" not in document:
        return parse_profile(name, document)
    rows = {key: value for key, value in document.items() if key != "variant"}
    values = {**rows, "name": name, "variants": document["variant"]}
    mistakes = [*family_mistakes(values)]
    mistakes += [] if mistakes else _broken_variants(Family.model_validate(values), folder)
    if mistakes:
        raise ProfileError(name, mistakes)
    family = Family.model_validate(values)
    beside = [
        variant.model_copy(update={"profile": str(_beside(variant.profile, folder))})
        for variant in family.variants
    ]
    return family.model_copy(update={"variants": tuple(beside)})


def _broken_variants(family: Family, folder: Path | None) -> Iterator[str]:
    for index, variant in enumerate(family.variants):
        try:
            load_profile(_beside(variant.profile, folder))
        except ProfileError as error:
            yield from (f"variant[{index}].profile: {mistake}" for mistake in error.mistakes)


def parse_profile(name: str, document: Mapping[str, Any]) -> Profile:
    """The profile that a parsed TOML document describes; raises ProfileError with every mistake in it."""
    mistakes = mistakes_of(name, document)
    if mistakes:
        raise ProfileError(name, mistakes)
    profile = Profile.model_validate(profile_rows(name, document))
    if torn := list(_torn(profile)):
        raise ProfileError(name, torn)
    return profile


def _torn(profile: Profile) -> Iterator[str]:
    """High and low parts of one number that no single read fetches: they would never be a reading."""
    blocks = plan(profile.registers, profile.limits) if profile.protocol == "modbus" else ()
    together = [{field for field, _offset in block.fields} for block in blocks]
    for index, register in enumerate(profile.registers):
        if register.is_pair and not any(fields >= {register, *register.parts} for fields in together):
            yield _("register[{index}].parts: no single read fetches them with the register").format(
                index=index
            )
