"""The only place that reads the process's environment: language, cache folder, systemd's socket."""

import atexit
import gettext
import hashlib
import os
import platform
import shutil
import tempfile
from importlib import metadata, resources
from pathlib import Path

from metering import i18n

CLICK_DOMAIN = "click"
"""Click translates through gettext's default domain."""
VERSION = metadata.version("tanyun")
_CACHE_DIR = "NUMBA_CACHE_DIR"


def language(wanted: str | None = None) -> str:
    """The reader's language: what the command line asks for, else the locale, in the order of Python's gettext."""
    names = (os.environ.get(name) for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"))
    return i18n.choose_language(wanted or next((name for name in names if name), None))


def use_language(wanted: str | None) -> None:
    """Switch our messages, Click's own words, and the processes that this one starts to the reader's language."""
    chosen = language(wanted)
    i18n.use(chosen)
    os.environ["LANGUAGE"] = chosen
    gettext.bindtextdomain(CLICK_DOMAIN, i18n.LOCALE)
    gettext.textdomain(CLICK_DOMAIN)


def kernel_cache() -> Path:
    """Where compiled kernels are kept: a folder per version of the kernels, of numba and of Python, and per installation.

    Numba takes no code of another place or time of the source, so neither does what says that all is compiled. What its
    variables ask for (`NUMBA_BOUNDSCHECK`) it would take from whichever cache there is.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    asked = sorted(
        item for item in os.environ.items() if item[0].startswith("NUMBA_") and item[0] != _CACHE_DIR
    )
    key = hashlib.sha256(f"{platform.python_version()} {_numba()} {platform.machine()} {asked}".encode())
    folder = Path(str(resources.files("stream"))) / "kernels"
    for path in sorted(folder.glob("*.py")):
        key.update(f"{path} {path.stat().st_mtime_ns}".encode() + path.read_bytes())
    return Path(base) / "tanyun" / f"kernels-{VERSION}-{key.hexdigest()[:12]}"


def _numba() -> str:
    try:
        return metadata.version("numba")
    except metadata.PackageNotFoundError:
        return "none"


def notify_socket() -> tuple[str | None, float | None]:
    """Where systemd listens, and how often it wants a sign of life in seconds (sd_notify(3), sd_watchdog_enabled(3))."""
    interval_us = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return os.environ.get("NOTIFY_SOCKET"), int(
        interval_us
    ) / 1e6 if interval_us.isdecimal() and meant else None


def use_kernel_cache() -> None:
    """Tell numba where its cache is; before numba is imported."""
    os.environ[_CACHE_DIR] = str(kernel_cache())


def use_passing_cache() -> Path:
    """A cache that goes with this process."""
    folder = tempfile.mkdtemp(prefix="tanyun-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_CACHE_DIR] = folder
    return Path(folder)
