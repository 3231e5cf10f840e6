"""A site's real Mosquitto with the files that we generate for it, and a paho client; shared by the tests of deployment."""

import os
import pwd
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from metering.mqtt import BrokerSettings
from metering.registry import Park, parse_registry
from tanyun.broker import find_mosquitto
from tests.loopback import is_up, until

MOSQUITTO_USER = "nobody"


def park_with(*gateways: str) -> Park:
    """A park that is nothing but its gateways."""
    return parse_registry(
        {
            "id": "park",
            "name": "园区",
            "grid_scope": "CN-AH",
            "enterprises": [{"id": "e", "name": "企业"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "厂区"}],
            "gateways": [{"id": gateway, "site": "s"} for gateway in gateways],
            "meters": [],
        }
    )


@contextmanager
def mosquitto(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Like tanyun-mosquitto.service: as an ordinary user who owns `broker/` and nothing else."""
    argv = (find_mosquitto() or "", "-c", str(folder / "broker" / "mosquitto.conf"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam(MOSQUITTO_USER)
        for path in (folder / "broker", *(folder / "broker").iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        process = subprocess.Popen(
            argv, stderr=subprocess.DEVNULL, user=MOSQUITTO_USER, group=owner.pw_gid, extra_groups=()
        )
    else:
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        until(lambda: is_up(port) or process.poll() is not None)
        assert process.poll() is None
        yield process
    finally:
        process.terminate()
        process.wait()


class Client:
    """A paho client that signs in as our settings say, and remembers what it is told."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.answer, self.lost = "", False
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=secrets.token_hex(4), reconnect_on_failure=False
        )
        self.paho.username_pw_set(settings.user, settings.password())
        self.paho.tls_set_context(settings.tls())
        self.paho.on_connect = lambda *got: setattr(self, "answer", str(got[3]))
        self.paho.on_disconnect = lambda *_got: setattr(self, "lost", True)
        try:
            self.paho.connect(settings.host, settings.port)
        except OSError as error:
            self.answer, self.lost = str(error), True
            return
        self.paho.loop_start()
        until(lambda: bool(self.answer) or self.lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()
