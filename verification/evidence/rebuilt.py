"""The reports of a pack written again from its document: the same bytes, wherever this is done, by the same release of the program."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from metering.i18n import _
from metering.intervals import to_ms
from storage.months import MonthRow, digest_of
from verification.document import parse
from verification.evidence import manifest as names
from verification.evidence.container import Container
from verification.evidence.facts import Difference, unlike
from verification.evidence.manifest import Manifest
from verification.formats import RENDERERS, report_name

REPORTS = "reports/"


def row_of(content: bytes) -> MonthRow:
    """The revision that a document is, as a server stores it."""
    document = parse(content)
    return MonthRow(
        document.month, document.scope.kind, document.scope.id, document.revision, document.outcome,
        to_ms(datetime.fromisoformat(document.closed_at)), document.reason, content, digest_of(content),
    )  # fmt: skip


def report_differences(path: Path) -> Iterator[Difference]:
    """Reports of a pack, which has to be equal, that this release would not write like that; those that are missing or too many."""
    with Container(path) as container:
        row = row_of(container.read(names.DOCUMENT))
        program = msgspec.json.decode(container.read(names.MANIFEST), type=Manifest).program
        here = {REPORTS + report_name(row, kind): kind for kind in RENDERERS}
        there = {name for name in container.members if name.startswith(REPORTS)}
        yield from unlike(REPORTS, sorted(there), sorted(here))
        for name, kind in here.items():
            said, found = (sha256(data).hexdigest() for data in (container.read(name), RENDERERS[kind](row)))
            if said != found:
                yield Difference(
                    _("{name}, written by {program}").format(name=name, program=program), said, found
                )
