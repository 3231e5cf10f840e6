"""How a role signs in to the broker: settings shared by gateways and server. The password stands in a file of its own."""

import ssl
from ipaddress import ip_address

from pydantic import Field, model_validator

from metering.config import ConfigPath, Strict
from metering.i18n import _

MESSAGE_BYTES = 262_144
"""The largest message that our brokers carry and that ingest admits."""


class BrokerSettings(Strict):
    """Where the broker is and who we are there."""

    host: str = "127.0.0.1"
    port: int = Field(default=8883, ge=1, le=65535)
    user: str
    password_file: ConfigPath
    ca_file: ConfigPath | None = None
    """CA of the broker's certificate. Without it the connection is plain, which is refused beyond this machine."""
    cert_file: ConfigPath | None = None
    key_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _no_plain_text_on_the_wire(self) -> "BrokerSettings":
        if self.ca_file is None and not is_loopback(self.host):
            text = _(
                "ca_file is needed: {host} is another machine, and passwords and readings do not travel in the clear"
            )
            raise ValueError(text.format(host=self.host))
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError(_("cert_file and key_file belong together"))
        return self

    def password(self) -> str:
        """The password; OSError when its file cannot be read."""
        return self.password_file.read_text(encoding="utf-8").strip()

    def tls(self) -> ssl.SSLContext | None:
        """TLS 1.2 or newer, the broker's certificate checked against `ca_file`; None on loopback without one."""
        if self.ca_file is None:
            return None
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            context.load_cert_chain(str(self.cert_file), str(self.key_file))
        return context


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
