"""Letting gateways in and shutting them out, on the server: invitations with a one-time code, revocation at once.

An invitation's credentials wait in `users.db`, sealed with the code; the API hands them out, once (api/enrolment.py).
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.enrolment import Credentials, lookup_digest, seal
from metering.enrolment import new_code
from metering.i18n import _
from metering.intervals import HOUR_MS
from metering.registry import Park
from storage.users import UserStore
from tanyun import people
from tanyun.broker import BrokerError
from tanyun.broker_files import Wanted, bring_up_to_date, revoked_gateways, set_revoked
from tanyun.config import ServerConfig

_CARRIED: Final = ("password", "ca.crt", "edge.toml", "client.crt", "client.key")


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker's folder (`tanyun broker init --data`) and the park whose gateways sign in there."""

    folder: Path
    park: Park

    def check(self, gateway: str) -> None:
        """BrokerError unless the registry has the gateway and the folder is a broker's with TLS."""
        known = [item.id for item in self.park.gateways]
        if gateway not in known:
            text = _("there is no gateway {gateway!r} in the registry; known are {known}")
            raise BrokerError(text.format(gateway=gateway, known=", ".join(known)))
        if not (self.folder / "ca.crt").exists():
            text = _("{folder} has no ca.crt: run `tanyun broker init --tls --api` first")
            raise BrokerError(text.format(folder=self.folder))

    def update(self, renew: tuple[str, ...] = ()) -> int:
        """Make the files as registry and revocations say, and tell a Mosquitto that runs with them; how many were told."""
        bring_up_to_date(self.folder, self.park, Wanted(port=self._port(), renew=renew))
        return reload_mosquitto(self.folder / "broker" / "mosquitto.conf")

    def _port(self) -> int:
        lines = (self.folder / "broker" / "mosquitto.conf").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("listener "))


def invite(config: ServerConfig, broker: Broker, gateway: str, hours: int) -> tuple[str, int]:
    """A code for a gateway, in place of an earlier one, and when it ends. A revoked gateway is let in again, anew. BrokerError."""
    broker.check(gateway)
    revoked = revoked_gateways(broker.folder)
    set_revoked(broker.folder, revoked - {gateway})
    broker.update(renew=(gateway,) if gateway in revoked else ())
    own = broker.folder / "gateways" / gateway
    files = {name: (own / name).read_text(encoding="utf-8") for name in _CARRIED if (own / name).exists()}
    code = new_code((broker.folder / "ca.crt").read_text(encoding="ascii"))
    expires_ms = people.now_ms() + hours * HOUR_MS
    with UserStore(config.users) as store:
        sealed = seal(Credentials(gateway, files), code.secret)
        store.invite(gateway, lookup_digest(code.secret), sealed, expires_ms)
    people.record(config.audit, "gateway.invite", gateway, hours=hours)
    return code.text(), expires_ms


def revoke(config: ServerConfig, broker: Broker, gateway: str) -> int:
    """Shut a gateway out: its password is gone from the broker, which drops its connection; how many brokers were told."""
    broker.check(gateway)
    with UserStore(config.users) as store:
        store.withdraw(gateway)
    set_revoked(broker.folder, revoked_gateways(broker.folder) | {gateway})
    for name in ("password", "client.key", "client.crt"):
        (broker.folder / "gateways" / gateway / name).unlink(missing_ok=True)
    told = broker.update()
    people.record(config.audit, "gateway.revoke", gateway, brokers_told=told)
    return told


def reload_mosquitto(configuration: Path) -> int:
    """SIGHUP for every Mosquitto of this machine that runs with this configuration; how many there were.

    It reads logins and rights again, and disconnects who may no longer sign in.
    """
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended, or is not ours to see
        if argv[0].endswith(b"mosquitto") and str(configuration).encode() in argv:
            os.kill(int(process.name), signal.SIGHUP)
            found += 1
    return found
