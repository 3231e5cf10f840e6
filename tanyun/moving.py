"""A server's configuration on another machine: its own files below one folder, and which of its files are not there yet."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from metering.config import ConfigError
from metering.i18n import _
from tanyun.config import ServerConfig

HOME: Final[Mapping[str, str]] = {
    "registry": "park.toml",
    "data": "data",
    "reports": "reports",
    "delivery": "delivery.toml",
}
"""Key of `server.toml` → its path below the new folder."""
_TABLE: Final = re.compile(r"(?m)^\s*\[")
_MADE: Final = {"registry", "data", "reports", "delivery"}


def move_in(backup: Path, config_file: Path) -> None:
    """The backup's `server.toml` with the server's own paths beside it; every other line stays. FileExistsError, ConfigError."""
    text, home = moved((backup / "server.toml").read_text(encoding="utf-8")), config_file.parent
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(home.iterdir()):
        raise FileExistsError(17, _("is not empty; name a new folder"), str(home))
    config_file.write_text(text, encoding="utf-8")


def moved(text: str) -> str:
    """A configuration's text with its own paths relative to its folder. ConfigError when a path cannot be found in it."""
    table = _TABLE.search(text)
    head, rest = (text[: table.start()], text[table.start() :]) if table else (text, "")
    said = tomllib.loads(text)
    for key, path in HOME.items():
        if key in said:
            line = re.compile(rf"""(?m)^(\s*{key}\s*=\s*)("[^"\n]*"|'[^'\n]*')""")
            head = line.sub(rf'\g<1>"{path}"', head, count=1)
    now = tomllib.loads(head + rest)
    wrong = [key for key, path in HOME.items() if key in said and now[key] != path]
    if wrong or now != said | {key: now[key] for key in HOME if key in said}:
        text = _("{keys}: cannot be changed by itself; restore with --config, and change the paths yourself")
        raise ConfigError("server.toml", [text.format(keys=", ".join(wrong))])
    return head + rest


def not_here(config: ServerConfig) -> list[tuple[str, Path]]:
    """(key, path) of every file that the configuration names and that does not exist: passwords, certificates, keys."""
    return [(key, path) for key, path in _paths(config) if key not in _MADE and not path.exists()]


def _paths(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Path]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            yield f"{prefix}{name}", value
        elif isinstance(value, BaseModel):
            yield from _paths(value, f"{prefix}{name}.")
