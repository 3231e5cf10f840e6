"""The pushed configurations on the gateway's disk. A rename decides which one is in force; the outbox is elsewhere and stays there.

state.json    which is in force, which came before it, whether it is on trial, the highest number ever seen
NUMBER/       a bundle's files, written once, complete before it has its name
"""

import os
import shutil
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.config import EdgeConfig, load_config
from edge_agent.updates.bundle import CONFIG, Bundle, BundleError, unpack
from metering.config import ConfigError
from metering.i18n import _

MOST_STARTS: Final = 3
"""A configuration on trial with which the agent had to start so often is taken back: it does not even run."""
_PINNED: Final = ("park", "gateway", "outbox", "updates")
"""What only the installed file may say: who the gateway is, where its frames are, and whom it obeys."""


class Trial(msgspec.Struct, frozen=True):
    """A configuration that has yet to prove itself."""

    answered: list[str]
    """Meters that answered before it."""
    starts: int = 0


class State(msgspec.Struct, frozen=True):
    """Everything that has to survive a power cut."""

    highest: int = 0
    """Number of the newest bundle that was ever judged."""
    active: int = 0
    """0: the installed file."""
    previous: int = 0
    trial: Trial | None = None
    said: str = "installed"
    """What became of `highest`: staged, trial, confirmed, refused, rolled_back."""
    detail: str = ""


class Store:
    """Owner of the folder. Not for two threads at once."""

    def __init__(self, installed: EdgeConfig, folder: Path, public_pem: bytes) -> None:
        self._installed, self._folder, self._public_pem = installed, folder, public_pem
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*"):  # of a power cut
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
        self.state = self._read()

    def configuration(self) -> EdgeConfig:
        """The configuration in force, counting a start of one on trial. One that cannot be loaded is taken back."""
        trial = self.state.trial
        if trial is not None:
            if trial.starts >= MOST_STARTS:
                self.roll_back(f"the agent had to start {trial.starts} times")
            else:
                self._write(
                    msgspec.structs.replace(self.state, trial=Trial(trial.answered, trial.starts + 1))
                )
        while self.state.active:
            try:
                return load_config(self._folder / str(self.state.active) / CONFIG)
            except (ConfigError, OSError) as error:
                self.roll_back(f"it cannot be loaded: {error}")
        return self._installed

    def stage(self, data: bytes) -> int | None:
        """The number of a bundle that is verified, complete and on disk; None for the newest one again; BundleError, OSError."""
        bundle = unpack(data, self._public_pem)
        if bundle.number == self.state.highest:
            return None
        if bundle.number < self.state.highest:
            raise BundleError(f"number {bundle.number} is old: {self.state.highest} was here")
        try:
            self._stage(bundle)
        except BundleError as error:
            self._write(
                msgspec.structs.replace(self.state, highest=bundle.number, said="refused", detail=str(error))
            )
            raise
        self._write(msgspec.structs.replace(self.state, highest=bundle.number, said="staged", detail=""))
        return bundle.number

    def begin(self, number: int, answered: list[str]) -> None:
        """Put a staged configuration in force, on trial."""
        state = self.state
        self._write(State(number, number, state.active, Trial(answered), "trial"))

    def confirm(self) -> None:
        """It has proved itself; what came before its predecessor is removed."""
        self._write(msgspec.structs.replace(self.state, trial=None, said="confirmed", detail=""))
        keep = {str(self.state.active), str(self.state.previous)}
        for folder in self._folder.iterdir():
            if folder.name.isdecimal() and folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)

    def roll_back(self, why: str) -> None:
        """Back to the one before, or to the installed file."""
        state = self.state
        self._write(State(state.highest, state.previous, 0, None, "rolled_back", f"{state.active}: {why}"))

    def _stage(self, bundle: Bundle) -> None:
        target = self._folder / str(bundle.number)
        scratch = self._folder / f".{bundle.number}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            for name, text in bundle.files.items():
                _write_file(scratch / name, text.encode())
            self._check(bundle, scratch)
            if target.exists():
                shutil.rmtree(target)
            scratch.rename(target)
            _sync(self._folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _check(self, bundle: Bundle, folder: Path) -> None:
        """Everything that a start would complain of, and what a pushed configuration may not change."""
        mistakes = []
        if (bundle.park, bundle.gateway) != (self._installed.park, self._installed.gateway):
            mistakes.append(f"the bundle is for {bundle.park}/{bundle.gateway}")
        try:
            config = load_config(folder / CONFIG)
        except ConfigError as error:
            raise BundleError("\n".join([*mistakes, *error.mistakes])) from error
        text = _("{key}: only the installed file may change it")
        mistakes += [
            text.format(key=key) for key in _PINNED if getattr(config, key) != getattr(self._installed, key)
        ]
        try:
            config.broker.password()
            config.broker.tls()
        except (OSError, ValueError) as error:
            mistakes.append(f"broker: {error}")
        if mistakes:
            raise BundleError("\n".join(mistakes))

    def _read(self) -> State:
        file = self._folder / "state.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except msgspec.DecodeError as error:
            text = _("{file}: {reason}. Remove the folder to start with the installed configuration.")
            raise ConfigError(str(file), [text.format(file=file, reason=error)]) from error

    def _write(self, state: State) -> None:
        scratch = self._folder / ".state.new"
        scratch.unlink(missing_ok=True)
        _write_file(scratch, msgspec.json.encode(state))
        scratch.replace(self._folder / "state.json")
        _sync(self._folder)
        self.state = state


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
