"""The cache of compiled kernels: filled once, whole, and never the reason why a role does not start."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tanyun import kernels
from tanyun.commands.warm import warm_once
from tanyun.environment import kernel_cache, use_kernel_cache

RUN = """
from pathlib import Path
from tempfile import TemporaryDirectory

from metering.sparkplug import Metric, Payload, encode
from storage.segment import Record
from stream.runner import Runner
from stream.state import State
from stream.step import step
from tests.stream import strategies, test_power
from tests.stream.strategies import T0
from tests.stream.test_runner import write_journal

swap = {"at": "2026-11-01T00:00:00+08:00", "closing": {"energy_import_total": "3"}, "opening": {"energy_import_total": "0"}}
text = encode(Payload((Metric(name="energy_import_total", value=1), Metric(name="note", value="x")), timestamp=T0))
odd = [Record("spBv1.0/p/DDATA/gw3/foreign", text, T0), Record("spBv1.0/p/DDATA/gw1/plain", b"\\xff", T0)]
totals = {"plain": 5, "float": 0.5, "tiny": 7, "foreign": 0.25}
cases = [
    (strategies, strategies.park(plain={"exchanges": [swap]}), totals, odd),
    (test_power, test_power.park(), {"pump": 5000, "inverter": 0.5}, []),
]
for made, park, meters, more in cases:
    state, world = State(), strategies.context(park)
    # More gateways than a source's first table of topics has room for.
    more = more + [Record(f"spBv1.0/p/DDATA/gw{i}/none", b"", T0) for i in range(99)]
    for first in (0, 30):
        frames = [made.frame(name, T0 + i * 300_000, raw + i) for name, raw in meters.items() for i in range(first, first + 30)]
        results = step(state, [*made.births(), *frames, *more, frames[0]], world)
        assert sum(row.closed for row in results.intervals) > 9
        state = State.restore(state.snapshot())
    with TemporaryDirectory() as folder:
        write_journal(Path(folder) / "journal.db", [*made.births(), *frames], 7)
        runner = Runner(Path(folder) / "journal.db", Path(folder) / "ledger.db", world)
        runner.rebuild(2)
        assert runner.cursor.segment > 1
        runner.close()
"""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.nb[ci]")}


def making(names: list[str]) -> tuple[Callable[[Path], None], list[Path]]:
    """A compiler that takes no time, and the folders that it was asked to fill."""
    asked: list[Path] = []

    def compiled(folder: Path) -> None:
        asked.append(folder)
        (folder / "source").mkdir(exist_ok=True)
        for name in names:
            (folder / "source" / name).write_bytes(name.encode())

    return compiled, asked


def test_a_cache_is_filled_once(tmp_path: Path) -> None:
    compiled, asked = making(["a.nbi", "a.1.nbc"])
    assert kernels.fill(tmp_path / "cache", compiled)
    assert not kernels.fill(tmp_path / "cache", compiled)
    assert asked == [tmp_path / "cache"]


@pytest.mark.parametrize(
    "damage", ["lost", "cut short", "changed", "added", "list lost", "list unreadable", "other processor"]
)
def test_a_cache_that_is_not_what_was_put_there_is_filled_anew(tmp_path: Path, damage: str) -> None:
    compiled, asked = making(["a.nbi", "a.1.nbc"])
    kernels.fill(tmp_path, compiled)
    before = files(tmp_path)
    data, told = tmp_path / "source" / "a.1.nbc", tmp_path / "warm"
    match damage:
        case "lost":
            data.unlink()
        case "cut short":
            data.write_bytes(b"")
        case "changed":
            data.write_bytes(b"b.1.nbc")
        case "added":
            (tmp_path / "source" / "b.nbi").touch()
        case "list lost":
            told.unlink()
        case "list unreadable":
            told.write_bytes(b"\xff\xfe")
        case _:
            told.write_text(
                told.read_text("ascii").replace(told.read_text("ascii").split()[0], "m68k", 1), "ascii"
            )
    assert kernels.fill(tmp_path, compiled)
    assert len(asked) == 2
    assert files(tmp_path) == before
    assert not kernels.fill(tmp_path, compiled)


def test_a_start_that_was_cut_off_leaves_no_cache_that_counts(tmp_path: Path) -> None:
    compiled, asked = making(["a.nbi"])

    def cut_off(folder: Path) -> None:
        compiled(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kernels.fill(tmp_path, cut_off)
    assert kernels.fill(tmp_path, compiled)
    assert len(asked) == 2


def tanyun(argv: list[str], **world: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env={**os.environ, **world}, check=True, capture_output=True, text=True)


@pytest.mark.timeout(400)
def test_after_a_cold_start_nothing_is_compiled_any_more(tmp_path: Path) -> None:
    made = tanyun([sys.executable, "-m", "tanyun", "warm", "--json"], XDG_CACHE_HOME=str(tmp_path))
    cache = Path(json.loads(made.stdout)["cache"])
    assert made.stderr == ""
    filled = files(cache)
    assert len(filled) >= 2 * 12
    tanyun([sys.executable, "-c", RUN], NUMBA_CACHE_DIR=str(cache))
    assert files(cache) == filled


def test_a_folder_that_cannot_be_made_costs_a_compilation_not_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tanyun").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    compiled, asked = making(["a.nbi"])
    warm_once(compiled)
    assert [str(folder) for folder in asked] == [os.environ["NUMBA_CACHE_DIR"]]
    assert files(asked[0])


def test_what_numba_is_asked_for_has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = kernel_cache()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert kernel_cache() != usual
    use_kernel_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == str(kernel_cache())


PART = """
import numpy as np
from stream.kernels import kernel, part
from stream.kernels.linked import Linked

@part
def one(numbers, i):
    return numbers[i]

@kernel
def outer(numbers, i):
    return one(numbers, i) + 1

assert outer(np.arange(3), 2) == 3
print([type(made.library) is Linked for made in one.overloads.values()])
try:
    outer(np.arange(3), 7)
except IndexError as error:
    print(error)
"""


def test_a_part_has_no_machine_code_and_its_error_comes_out_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text(PART, encoding="utf-8")
    world = {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path.cwd()),
    }
    for parts in ("[True]", "[]"):  # compiled, then the kernel from the cache
        told = tanyun([sys.executable, str(tmp_path / "part.py")], **world)
        assert told.stdout == f"{parts}\nindex is out of bounds\n"
