"""Verifying an evidence pack: no database, no trust in whoever made it beyond the key that signed it."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from metering.i18n import _
from metering.intervals import Span
from storage.errors import CorruptError
from storage.merkle import chain_next
from storage.months import digest_of
from verification.changes import differences
from verification.document import Bracket, MonthDocument, parse
from verification.evidence import manifest as names
from verification.evidence import parallel, periods, signing, tables
from verification.evidence.accounts import Accounts
from verification.evidence.births import Key
from verification.evidence.books import Packed, read_books
from verification.evidence.container import DEFLATED, STORED, Container
from verification.evidence.facts import Difference, Facts, Formula, unlike
from verification.evidence.figures import Recount, Share
from verification.evidence.manifest import ChainPart, FileLine, Manifest
from verification.evidence.proof import ProofError, blocks
from verification.evidence.replay import Replay, Where
from verification.evidence.stored import read_stored

_NEEDED = (
    names.DOCUMENT, names.RECORDS, names.ROOTS, names.CHAIN, names.LEDGER, names.OPENING, names.METERS, names.ROLES,
    names.FORMULAS, names.FACTORS, names.EVENTS, names.RATIOS, names.EXCHANGES, names.FUELS, names.COAL,
)  # fmt: skip
_ROOT_SIZE = 32
SPLIT_BYTES = 8_000_000
"""Records above this size are worth a second process: half a minute of one core is 100 MB. Ours."""


@dataclass(slots=True)
class Verdict:
    """What verifying a pack came to. Equal when there is no difference."""

    difference: Difference | None = None
    """The first one."""
    manifest: Manifest | None = None
    pinned: bool = False
    """The signature was checked with a key that did not come with the pack."""
    files: int = 0
    segments: int = 0
    frames: int = 0
    totals: int = 0
    intervals: int = 0

    @property
    def equal(self) -> bool:
        return self.difference is None


def verify_pack(path: Path, pinned: Ed25519PublicKey | None = None) -> Verdict:
    """Check every byte of a pack and recompute its figures; stops at the first difference. OSError when it cannot be read."""
    verdict = Verdict(pinned=pinned is not None)
    with Container(path) as container:
        verdict.difference = next(_Check(path, container, pinned, verdict).differences(), None)
    return verdict


def share_of(path: Path, meters: frozenset[str]) -> Share:
    """What a second process does."""
    with Container(path) as container:
        return _Check(path, container, None, Verdict()).share(meters)


class _Unreadable(Exception):
    """A signed file is not what its name promises; it ends the check."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(f"{name}: {error}")
        self.difference = Difference(name, str(error), _("a file of its kind"))


class _Check:
    """One pack being verified, from its outermost bytes inwards."""

    def __init__(
        self, path: Path, container: Container, pinned: Ed25519PublicKey | None, verdict: Verdict
    ) -> None:
        self._path, self._container, self._pinned, self._verdict = path, container, pinned, verdict

    def differences(self) -> Iterator[Difference]:
        """What differs; each step relies on the ones before it, so only the first is to be believed."""
        if self._container.flaw is not None:
            yield Difference(_("container"), self._container.flaw, _("the form in which we write it"))
        yield from self._signature()
        yield from self._files()
        try:
            yield from self._content()
        except _Unreadable as error:
            yield error.difference

    def _signature(self) -> Iterator[Difference]:
        for name in names.UNLISTED:
            if name not in self._container.members or self._container.members[name].method != STORED:
                yield Difference(name, _("missing"), _("a file of the pack"))
        listed = self._container.read(names.MANIFEST)
        try:
            manifest = msgspec.json.decode(listed, type=Manifest)
            key = self._pinned or signing.from_hex(manifest.signer.public_key)
        except ValueError as error:
            yield Difference(names.MANIFEST, str(error), names.SCHEMA)
            return
        self._verdict.manifest = manifest
        if manifest.signer.key_id != signing.key_id(key):
            yield Difference(
                f"{names.MANIFEST}: {_('signature: the key')}", manifest.signer.key_id, signing.key_id(key)
            )
        if not signing.signed_by(key, self._container.read(names.SIGNATURE), listed):
            place = f"{names.MANIFEST}, {names.SIGNATURE}"
            yield Difference(
                place,
                _("signature"),
                _("is not that of key {key} over this manifest").format(key=signing.key_id(key)),
            )
        if self._container.read(names.PUBLIC_KEY) != signing.public_pem(key):
            yield Difference(names.PUBLIC_KEY, _("another key"), signing.key_id(key))
        if manifest.schema != names.SCHEMA:
            yield Difference(f"{names.MANIFEST} schema", manifest.schema, names.SCHEMA)

    def _files(self) -> Iterator[Difference]:
        manifest = self._manifest
        members = set(self._container.members) - set(names.UNLISTED)
        listed = {line.name for line in manifest.files}
        for name in sorted(members ^ listed):
            found = (
                (_("listed"), _("missing")) if name in listed else (_("not listed"), _("in the container"))
            )
            yield Difference(name, *found)
        for line in manifest.files:
            yield from self._file(line)
            self._verdict.files += 1
        for name in names.UNLISTED:
            member, (size, _digest, crc) = self._container.members[name], self._container.content(name)
            if (member.size, member.crc) != (size, crc):
                yield Difference(name, f"CRC {member.crc:08x}", f"{crc:08x}")
        for name in sorted(set(_NEEDED) - listed):
            yield Difference(name, _("missing"), _("a file of the pack"))

    def _file(self, line: FileLine) -> Iterator[Difference]:
        container, member = self._container, self._container.members[line.name]
        digest = container.packed_digest(line.name)
        if digest != line.packed_sha256 or member.method != DEFLATED:
            yield Difference(line.name, f"SHA-256 {line.packed_sha256}", digest)
            return
        try:
            found = container.content(line.name)
        except zlib.error as error:
            yield Difference(line.name, str(error), _("content that can be unpacked"))
            return
        said = (line.size, line.sha256, member.crc)
        if said != found or member.size != line.size:
            yield Difference(line.name, f"SHA-256 {line.sha256}", found[1])

    @property
    def _manifest(self) -> Manifest:
        assert self._verdict.manifest is not None  # noqa: S101  _signature ends the check without one
        return self._verdict.manifest

    def _content(self) -> Iterator[Difference]:
        document = self._read_document()
        manifest, scope = self._manifest, document.scope
        claimed, own = names.claimed(self._path.name), f"{scope.id}_{document.month}_r{document.revision}"
        yield from unlike(self._path.name, claimed or own, own)
        said = (
            manifest.scope_kind,
            manifest.scope_id,
            manifest.month,
            manifest.revision,
            manifest.document_sha256,
            manifest.journal_id,
        )
        digest = digest_of(self._container.read(names.DOCUMENT))
        found = (scope.kind, scope.id, document.month, document.revision, digest, document.journal.id)
        if said != found:
            yield Difference(f"{names.MANIFEST}, {names.DOCUMENT}", str(said), str(found))
        for report in (name for name in self._container.members if name.startswith("reports/")):
            if report.endswith(".json") and self._container.read(report) != self._container.read(
                names.DOCUMENT
            ):
                yield Difference(report, _("another document"), names.DOCUMENT)
        facts = self._read_facts()
        with parallel.other_process(share_of, self._path, self._others(facts)) as (theirs, rest):
            yield from self._figures(document, facts, theirs, rest)

    def _others(self, facts: Facts) -> frozenset[str]:
        """Meters that a second process takes over, more than half because it checks no digests; none where one is enough."""
        meters = sorted(facts.meters)
        large = self._container.members[names.RECORDS].size > SPLIT_BYTES
        return frozenset(meters[len(meters) * 2 // 5 :] if large and parallel.two_cores() else ())

    def _recount(
        self, document: MonthDocument, facts: Facts, mine: Callable[[str], bool]
    ) -> tuple[Recount, Replay]:
        replay = Replay(
            Span(document.start_ms, document.end_ms),
            {meter: known for meter, known in facts.meters.items() if mine(meter)},
            {key: begins for key, (_where, begins) in facts.opening.items()},
            _cited(document, facts),
        )
        ledger = read_stored(self._container.chunks(names.LEDGER), mine)
        return Recount(document, facts, replay, ledger), replay

    def share(self, meters: frozenset[str]) -> Share:
        """The intervals of some meters, for another process that checks the digests of all records."""
        document, facts = self._read_document(), self._read_facts()
        recount, replay = self._recount(document, facts, meters.__contains__)
        for block in blocks(self._container.chunks(names.RECORDS), hashed=False):
            for index, record in block.records:
                replay.feed((block.segment, index), record)
        replay.end()
        return recount.share()

    def _figures(
        self,
        document: MonthDocument,
        facts: Facts,
        theirs: frozenset[str],
        rest: Callable[[], Share | None],
    ) -> Iterator[Difference]:
        recount, replay = self._recount(document, facts, lambda meter: meter not in theirs)
        yield from self._journal(document, replay)
        try:
            yield from periods.unlike_rows(document, self._rows_or_none(names.TARIFFS))
            accounts = Accounts(document, facts, self._read_books(document), recount)
            yield from recount.differences(rest, accounts.substitutions)
            yield from accounts.differences()
        except (ValueError, KeyError, ArithmeticError) as error:
            raise _Unreadable(names.LEDGER, error) from error
        yield from self._of_revision(document)
        self._verdict.frames, self._verdict.totals = replay.frames, len(replay.totals)
        self._verdict.intervals = recount.intervals

    def _of_revision(self, document: MonthDocument) -> Iterator[Difference]:
        """The table of differences, from the document of the revision before."""
        if document.revision == 1:
            yield from unlike("document.json changes", document.changes, ())
            return
        if names.PREVIOUS not in self._container.members:
            yield Difference(names.PREVIOUS, _("missing"), _("a file of the pack"))
            return
        before = self._parsed(names.PREVIOUS)
        said = before.scope.kind, before.scope.id, before.month, before.revision
        scope = document.scope
        yield from unlike(names.PREVIOUS, said, (scope.kind, scope.id, document.month, document.revision - 1))
        told = {change.path: change for change in document.changes}
        found = {change.path: change for change in differences(before, document)}
        for path in dict.fromkeys([*told, *found]):
            yield from unlike(f"document.json changes[{path}]", told.get(path), found.get(path))

    def _read_document(self) -> MonthDocument:
        return self._parsed(names.DOCUMENT)

    def _parsed(self, name: str) -> MonthDocument:
        try:
            return parse(self._container.read(name))
        except msgspec.MsgspecError as error:
            raise _Unreadable(name, error) from error

    def _rows(self, name: str) -> Iterator[Mapping[str, str]]:
        return tables.read_csv(self._container.chunks(name))

    def _rows_or_none(self, name: str) -> Iterator[Mapping[str, str]]:
        """Of a file that not every pack has."""
        return self._rows(name) if name in self._container.members else iter(())

    def _read_facts(self) -> Facts:
        name = names.METERS
        try:
            dated = self._rows(names.RATIOS), self._rows(names.EXCHANGES)
            meters = tables.read_meters(self._rows(name), self._rows(names.ROLES), *dated)
            name = names.FORMULAS
            formulas = _formulas(self._rows(name))
            name = names.FACTORS
            uses, ratios = tables.factor_by_use(self._rows(name))
            name = names.OPENING
            opening = tables.read_opening(self._rows(name))
            name = names.EVENTS
            events = tables.read_events(self._rows(name))
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise _Unreadable(name, error) from error
        return Facts(meters, formulas, uses, ratios, opening, events)

    def _read_books(self, document: MonthDocument) -> Packed:
        enterprises = [row["enterprise"] for row in self._rows(names.ENTERPRISES)]
        try:
            return read_books(self._rows, self._container.members, document, enterprises)
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise _Unreadable(names.FACTS, error) from error

    def _journal(self, document: MonthDocument, replay: Replay) -> Iterator[Difference]:
        """Records against their segments' roots, the roots against the chain, the chain against the document."""
        try:
            part = msgspec.json.decode(self._container.read(names.CHAIN), type=ChainPart)
        except msgspec.MsgspecError as error:
            raise _Unreadable(names.CHAIN, error) from error
        said, journal = (part.journal_id, part.last, part.chain_at_close), document.journal
        if said != (journal.id, journal.segment - 1, journal.chain):
            yield Difference(names.CHAIN, str(said), str((journal.id, journal.segment - 1, journal.chain)))
        roots = _roots(self._container.chunks(names.ROOTS))
        chain, at = bytes.fromhex(part.chain_before), part.first - 1
        try:
            for block in blocks(self._container.chunks(names.RECORDS)):
                root = None
                while at < block.segment and (root := next(roots, None)) is not None:
                    at += 1
                    chain = chain_next(chain, at, root)
                if root != block.root:
                    yield Difference(
                        f"{names.RECORDS} {_('segment')} {block.segment}",
                        block.root.hex(),
                        root.hex() if root else "—",
                    )
                for index, record in block.records:
                    replay.feed((block.segment, index), record)
                self._verdict.segments += 1
        except (ProofError, CorruptError, ValueError) as error:
            raise _Unreadable(names.RECORDS, error) from error
        replay.end()
        for root in roots:
            at += 1
            chain = chain_next(chain, at, root)
        if (at, chain.hex()) != (part.last, journal.chain):
            yield Difference(f"{names.ROOTS} {_('segment')} {at}", chain.hex(), journal.chain)


def _cited(document: MonthDocument, facts: Facts) -> Iterator[tuple[Key, Where]]:
    for key, (where, _begins) in facts.opening.items():
        yield key, where
    for line in document.meters:
        brackets: tuple[Bracket, ...] = (*line.balance.opening_bracket, *line.balance.closing_bracket)
        for bracket in brackets:
            yield (line.meter, line.reading_type), (bracket.segment, bracket.index)


def _formulas(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Formula]:
    found: dict[tuple[str, str], Formula] = {}
    for row in rows:
        key = row["kind"], row["scope"]
        found[key] = (*found.get(key, ()), (row["role"], int(row["sign"])))
    return found


def _roots(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        whole = len(data) - len(data) % _ROOT_SIZE
        for at in range(0, whole, _ROOT_SIZE):
            yield data[at : at + _ROOT_SIZE]
        rest = data[whole:]
    if rest:
        yield rest
