"""The faults of a schedule. Each breaks something, waits, and leaves it to itself again; together they overlap as they like.

A fault takes the chain, its own dice and a target, and returns False where this machine cannot do it.
"""

import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

import msgspec

from tests.chaos.chain import CLOCK, FAKETIME, ON_SERVER, SERVER, Chain, Child
from tests.chaos.wire import Weather

CLOCKS = ("@1970-01-01 00:00:20", "+1d", "-1h", "-30d", "+400d")
"""A boot without a clock, and steps in both directions."""


def kill(chain: Chain, dice: random.Random, name: str) -> bool:
    """SIGKILL at any instant."""
    chain.kill(name)
    time.sleep(dice.uniform(0, 0.5))
    return True


def down(chain: Chain, dice: random.Random, name: str) -> bool:
    """Dead for a while: hours on the accelerated clock."""
    chain.hold(name)
    time.sleep(dice.uniform(0.5, 3.0))
    chain.release(name)
    return True


def stop(chain: Chain, dice: random.Random, name: str) -> bool:
    """An orderly stop and start."""
    chain.hold(name, number=signal.SIGTERM)
    time.sleep(dice.uniform(0, 0.3))
    chain.release(name)
    return True


def hang(chain: Chain, dice: random.Random, name: str) -> bool:
    """The machine stands still, and goes on as if nothing had been."""
    chain.pause(name, dice.uniform(0.3, 2.5))
    return True


def cut(chain: Chain, dice: random.Random, link: str) -> bool:
    """Connections reset and refused."""
    return _weather(chain, dice, link, Weather(cut=True), 2.5)


def stall(chain: Chain, dice: random.Random, link: str) -> bool:
    """Nothing comes through, nobody is told."""
    return _weather(chain, dice, link, Weather(stalled=True), 3.0)


def delay(chain: Chain, dice: random.Random, link: str) -> bool:
    """A satellite hop."""
    return _weather(chain, dice, link, Weather(delay_s=dice.uniform(0.02, 0.3)), 3.0)


def unplug(chain: Chain, dice: random.Random, gateway: str) -> bool:
    """The gateway's network cable is pulled: no packet passes, no connection is told."""
    if gateway not in chain.cables:
        return False
    chain.cables[gateway].pull()
    time.sleep(dice.uniform(0.3, 6.0))
    chain.cables[gateway].plug()
    return True


def muddle(chain: Chain, dice: random.Random, link: str) -> bool:
    """Messages twice, in another order, or not at all."""
    weather = Weather(duplicate=dice.random() / 2, reorder=dice.random() / 2, drop=dice.random() / 3)
    return _weather(chain, dice, link, weather, 4.0)


def _weather(chain: Chain, dice: random.Random, link: str, weather: Weather, longest_s: float) -> bool:
    if link not in chain.wires.links:
        return False
    chain.wires.set(link, weather)
    time.sleep(dice.uniform(0.3, longest_s))
    chain.wires.set(link, Weather())
    return True


def full_disk(chain: Chain, dice: random.Random, disk: str) -> bool:
    """No room; then room again."""
    chain.disks[disk].fill()
    time.sleep(dice.uniform(0.5, 3.0))
    chain.disks[disk].drain()
    return True


def slow_disk(chain: Chain, dice: random.Random, disk: str) -> bool:
    """Each sync takes a quarter of a second more."""
    if chain.shim is None:
        return False
    flag = chain.folder / f"slow-{disk}"
    flag.touch()
    time.sleep(dice.uniform(1.0, 4.0))
    flag.unlink(missing_ok=True)
    return True


def read_only(chain: Chain, dice: random.Random, disk: str) -> bool:
    """The file system finds an error and turns read-only under open files; then the machine is rebooted and checked."""
    if not chain.disks[disk].break_down():
        return False
    time.sleep(dice.uniform(0.5, 2.5))
    return power_cut(chain, dice, disk)


def power_cut(chain: Chain, dice: random.Random, disk: str) -> bool:
    """Everything on that machine ends, and what was not on its device is gone."""
    names = [child.name for child in chain.on(disk)]
    chain.hold(*names)
    try:
        done = chain.disks[disk].power_cut()
        time.sleep(dice.uniform(0, 0.5))
    finally:
        chain.release(*names)
    return done


def torn_tail(chain: Chain, dice: random.Random, disk: str) -> bool:
    """SIGKILL, and rubbish behind the last synced byte of every write-ahead log: a write that was under way."""
    names = [child.name for child in chain.on(disk)]
    chain.hold(*names)
    for wal in chain.disks[disk].path.glob("*.db-wal"):
        with suppress(OSError), wal.open("ab") as file:
            file.write(dice.randbytes(dice.randint(1, 6000)))
    chain.release(*names)
    return True


def wrong_clock(chain: Chain, dice: random.Random, gateway: str) -> bool:
    """The gateway boots in 1970, or its clock has been stepped; some seconds later it boots with the right time."""
    if not FAKETIME.exists():
        return False
    child = chain.children[f"edge {gateway}"]
    right = dict(child.environment)
    chain.hold(child.name)
    preload = f"{FAKETIME}:{right['LD_PRELOAD']}" if "LD_PRELOAD" in right else str(FAKETIME)
    child.environment |= {"LD_PRELOAD": preload, "FAKETIME": dice.choice(CLOCKS), "DONT_FAKE_MONOTONIC": "1",
                          "FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # fmt: skip
    chain.release(child.name)
    time.sleep(dice.uniform(2.0, 4.0))
    chain.hold(child.name)
    child.environment = right
    chain.release(child.name)
    return True


def twin(chain: Chain, dice: random.Random, gateway: str) -> bool:
    """A second machine with the same identity and a copy of the card, for a while: each throws the other off the broker."""
    child, box = chain.children[f"edge {gateway}"], chain.folder / f"twin-{gateway}-{dice.randrange(1 << 30)}"
    source = chain.disks[gateway].path / "outbox.db"
    box.mkdir()
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as a,
            closing(sqlite3.connect(box / "outbox.db")) as b,
        ):
            a.backup(b)
    except sqlite3.Error:
        return False
    text = (chain.folder / "demo" / f"edge-{gateway}.toml").read_text(encoding="utf-8")
    text = text.replace(str(source), str(box / "outbox.db")).replace(
        f"port = {chain.clock_ports[gateway]}\n", "port = 9\n"
    )
    config = chain.folder / "demo" / f"{box.name}.toml"
    config.write_text(text, encoding="utf-8")
    argv = (*child.argv[:-1], str(config))
    other = Child(box.name, argv, chain.folder / "log" / f"{box.name}.log", child.environment)
    other.start()
    time.sleep(dice.uniform(3.0, 5.0))
    other.end()
    shutil.rmtree(box)
    return True


def old_card(chain: Chain, dice: random.Random, gateway: str) -> bool:
    """The card is replaced by a copy made some seconds ago, all of whose later frames the server has."""
    name, path = f"edge {gateway}", chain.disks[gateway].path / "outbox.db"
    chain.hold(name, number=signal.SIGTERM)
    try:
        copy = path.with_name("old.db")
        shutil.copy(path, copy)
        chain.release(name)
        time.sleep(dice.uniform(1.5, 4.0))
        chain.hold(name, number=signal.SIGTERM)
        if chain.backlog(gateway):
            copy.unlink()
            return False
        for stale in path.parent.glob("outbox.db-*"):
            stale.unlink()
        copy.replace(path)
    except (OSError, sqlite3.Error):
        return False
    finally:
        chain.release(name)
    return True


def influx_down(chain: Chain, dice: random.Random, _target: str) -> bool:
    """The serving store is gone: hours on the accelerated clock."""
    if chain.influx is None:
        return False
    # An orderly stop: kill -9 now and then leaves InfluxDB 1.6 an index that it cannot read itself any more.
    chain.stop_influx()
    time.sleep(dice.uniform(2.0, 8.0))
    chain.influx.start()
    return True


Fault = Callable[[Chain, random.Random, str], bool]
ROLES, LINKS, DISKS, GATEWAYS = "roles", "links", "disks", "gateways"
FAULTS: Mapping[str, tuple[Fault, str, int]] = {
    "kill": (kill, ROLES, 10), "down": (down, ROLES, 4), "stop": (stop, ROLES, 2), "hang": (hang, ROLES, 3),
    "cut": (cut, LINKS, 4), "stall": (stall, LINKS, 3), "delay": (delay, LINKS, 3), "muddle": (muddle, LINKS, 6),
    "full_disk": (full_disk, DISKS, 3), "slow_disk": (slow_disk, DISKS, 2), "read_only": (read_only, DISKS, 2),
    "power_cut": (power_cut, DISKS, 4), "torn_tail": (torn_tail, DISKS, 3),
    "wrong_clock": (wrong_clock, GATEWAYS, 2), "twin": (twin, GATEWAYS, 1), "old_card": (old_card, GATEWAYS, 2),
    "unplug": (unplug, GATEWAYS, 4),
    "influx_down": (influx_down, SERVER, 1),
}  # fmt: skip
"""Name → (what it does, what it does it to, how often)."""


class Event(msgspec.Struct, frozen=True):
    """One line of a schedule."""

    after_s: float
    fault: str
    target: str
    seed: int


def targets(chain: Chain, kind: str) -> list[str]:
    """What faults of a kind can hit."""
    known = {
        ROLES: ["broker", "meters", *(name for name in ON_SERVER if name in chain.children), *(f"edge {g}" for g in chain.gateways)],
        LINKS: [name for name in chain.wires.links if not name.startswith(CLOCK)],
        DISKS: list(chain.disks), GATEWAYS: chain.gateways, SERVER: [SERVER],
    }  # fmt: skip
    return known[kind]


def schedule(chain: Chain, seed: int, lane: int, count: int) -> list[Event]:
    """The same seed, lane and count, on a machine that can do the same: the same events."""
    dice = random.Random(f"schedule {seed} {lane}")
    names, weights = list(FAULTS), [weight for _fault, _kind, weight in FAULTS.values()]
    events = []
    for _ in range(count):
        name = dice.choices(names, weights)[0]
        target = dice.choice(targets(chain, FAULTS[name][1]))
        events.append(Event(round(dice.uniform(0.05, 0.8), 3), name, target, dice.randrange(1 << 30)))
    return events
