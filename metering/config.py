"""Configuration files: TOML into a frozen model, every mistake reported at once with its key path."""

import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from metering.i18n import _
from metering.ids import ID_PATTERN
from metering.mistakes import sentence

Id = Annotated[str, Field(pattern=ID_PATTERN)]


class ConfigError(ValueError):
    """A configuration is wrong (the operator's fault); nothing is started. `mistakes` lists every one."""

    def __init__(self, file: str, mistakes: list[str]) -> None:
        super().__init__("\n  ".join([_("{file} has mistakes:").format(file=file), *mistakes]))
        self.file = file
        self.mistakes = mistakes


class Strict(BaseModel):
    """A configuration table: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    context = info.context if isinstance(info.context, dict) else {}
    return Path(context.get("folder", "")) / path


ConfigPath = Annotated[Path, AfterValidator(_from_folder)]
"""A path in a configuration file; a relative one starts at the file's own folder."""

Model = TypeVar("Model", bound=BaseModel)


def load_toml(path: Path, model: type[Model]) -> Model:
    """The model that a TOML file describes; ConfigError with all mistakes, OSError when it cannot be read."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [_("not TOML: {error}").format(error=error)]) from error
    return validate(data, model, str(path), path.parent)


def validate(data: dict[str, object], model: type[Model], file: str, folder: Path | None = None) -> Model:
    """The model that a parsed document describes; ConfigError with all mistakes."""
    try:
        return model.model_validate(data, context={"folder": folder or Path()})
    except ValidationError as error:
        raise ConfigError(file, validation_mistakes(error)) from error


def validation_mistakes(error: ValidationError) -> list[str]:
    """One line per mistake, with the key path: `meters[3].ct: a ratio is positive`."""
    return [f"{_key_path(item['loc'])}: {sentence(item)}" for item in error.errors()]


def _key_path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or "(document)"
