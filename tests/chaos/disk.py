"""Disks that fail: a file system of its own per machine, which can fill up, turn read-only under open files, and lose power.

As root on Linux it is a real ext4 on a loop device. Elsewhere it is a folder: full by a limit on file sizes; without
read-only and power cuts. `kind` says which.
"""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_SIZE = "96M"
_LEFT_BYTES = 4096
_PATIENCE_S = 10.0
Holders = Callable[[], list[int]]
"""Pids of the processes that write on a disk."""


class Disk(Protocol):
    """What a schedule can do to a disk."""

    kind: str
    path: Path

    def fill(self) -> None: ...
    def drain(self) -> None: ...
    def break_down(self) -> bool: ...
    def power_cut(self) -> bool: ...
    def close(self) -> None: ...


def can_mount(folder: Path) -> bool:
    """Root with loop devices and ext4: tried, not guessed."""
    if os.geteuid() or not all(map(shutil.which, ("mkfs.ext4", "mount", "e2fsck"))):
        return False
    try:
        disk = LoopDisk(folder / "trial")
    except (OSError, subprocess.CalledProcessError):
        return False
    disk.close()
    return True


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


class LoopDisk:
    """ext4 on a loop device."""

    kind = "ext4 on a loop device"

    def __init__(self, path: Path) -> None:
        self.path, self._image = path, path.with_suffix(".img")
        self._ballast = path / "ballast"
        path.mkdir(parents=True)
        _run("truncate", "-s", _SIZE, str(self._image))
        _run("mkfs.ext4", "-q", "-m", "0", "-O", "^resize_inode", str(self._image))
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro,commit=30", str(self._image), str(self.path))

    def fill(self) -> None:
        """Leave a page or two."""
        free = os.statvfs(self.path)
        with suppress(OSError), self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - _LEFT_BYTES))

    def drain(self) -> None:
        """Room again."""
        with suppress(OSError):
            self._ballast.unlink(missing_ok=True)

    def break_down(self) -> bool:
        """An error of the device: ext4 turns read-only under everybody's open files."""
        device = subprocess.run(
            ("findmnt", "-no", "SOURCE", str(self.path)), check=True, capture_output=True, text=True
        ).stdout.strip()
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        try:
            trigger.write_text("1", encoding="ascii")
        except OSError:
            return False
        return True

    def power_cut(self) -> bool:
        """What is on the device at this instant is all that is left; the writers must be dead. Also mends a broken disk."""
        left = self._image.with_suffix(".left")
        _run("cp", "--sparse=always", str(self._image), str(left))
        self._unmount()
        left.replace(self._image)
        # 0 sound, 1 mended; more is a file system that a power cut must not leave.
        done = subprocess.run(("e2fsck", "-p", str(self._image)), check=False, capture_output=True)
        assert done.returncode in {0, 1}, done.stdout
        self._mount()
        return True

    def _unmount(self) -> None:
        """Whoever looks around on this machine may be in it for a moment."""
        end = time.monotonic() + _PATIENCE_S
        while subprocess.run(("umount", str(self.path)), check=False, capture_output=True).returncode:
            assert time.monotonic() < end, f"{self.path} is in use"
            time.sleep(0.1)

    def close(self) -> None:
        """Gone."""
        with suppress(AssertionError):
            self._unmount()
        self._image.unlink(missing_ok=True)


class Folder:
    """An ordinary folder: a limit on the size of files stands for a full disk."""

    kind = "folder with RLIMIT_FSIZE"

    def __init__(self, path: Path, holders: Holders) -> None:
        self.path, self._holders = path, holders
        path.mkdir(parents=True)

    def fill(self) -> None:
        """No file may grow beyond a page."""
        self._limit(_LEFT_BYTES)

    def drain(self) -> None:
        """No limit."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        for pid in self._holders():
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def break_down(self) -> bool:
        """Not here."""
        return False

    def power_cut(self) -> bool:
        """Not here."""
        return False

    def close(self) -> None:
        """Nothing to do."""
