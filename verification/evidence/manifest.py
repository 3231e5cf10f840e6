"""The manifest: every file of a pack with its digests, whose month it is, where the journal stood, and who signed."""

import re

import msgspec

SCHEMA = "tanyun-evidence/3"
MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "manifest.sig", "public-key.pem"
UNLISTED = (MANIFEST, SIGNATURE, PUBLIC_KEY)
"""Files that the manifest does not list: itself, its signature, and the key that it names itself."""
DOCUMENT, RECOMPUTE, README = "document.json", "recompute.py", "README.txt"
RECORDS, ROOTS, CHAIN = "journal/records.bin", "journal/roots.bin", "journal/chain.json"
LEDGER, OPENING, EVENTS = "ledger.csv", "opening.csv", "events.csv"
METERS, ROLES, FORMULAS, FACTORS = (
    "registry/meters.csv",
    "registry/roles.csv",
    "registry/formulas.csv",
    "factors.csv",
)
ENTERPRISES, SITES, GATEWAYS = "registry/enterprises.csv", "registry/sites.csv", "registry/gateways.csv"
RATIOS, EXCHANGES = "registry/ratios.csv", "registry/exchanges.csv"
FACTS, FUELS, COAL, BILL_LEDGER = "facts/", "factors/fuels.csv", "factors/coal.csv", "bill-intervals.csv"
TARIFFS = "registry/tariffs.csv"
"""Only where a time-of-use calendar is declared: which period every stretch of the month belongs to."""
PREVIOUS = "previous.json"
"""The document of the revision before, from the second on: the table of differences is made from both."""
CONFIGURATION = "configuration.json"


_NAME = re.compile(r"(.+_\d{4}-\d{2}_r\d+)_evidence")
"""How the file name of a pack begins: scope, month and revision."""


def claimed(file_name: str) -> str | None:
    """Whose pack a file name says that it is; None for a name that says nothing of the kind."""
    found = _NAME.match(file_name)
    return found[1] if found else None


class FileLine(msgspec.Struct, frozen=True, gc=False):
    """A file of the pack: digests of its content and of its packed bytes."""

    name: str
    size: int
    sha256: str
    packed_sha256: str


class Signer(msgspec.Struct, frozen=True, gc=False):
    """Whose signature stands beside the manifest."""

    algorithm: str
    public_key: str
    """The 32 bytes, hex."""
    key_id: str
    """SHA-256 of them, hex."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The table of contents that is signed."""

    schema: str
    program: str
    scope_kind: str
    scope_id: str
    month: str
    revision: int
    document_sha256: str
    journal_id: str
    signer: Signer
    files: tuple[FileLine, ...]


class ChainPart(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the journal's chain: the segments `first` to `last`, whose roots stand in `journal/roots.bin`."""

    journal_id: str
    first: int
    last: int
    chain_before: str
    chain_at_close: str


def canonical(value: Manifest | ChainPart | dict[str, object]) -> bytes:
    """JSON with sorted keys, indented so that a person can read it."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"
