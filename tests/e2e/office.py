"""The server's office in a test: its files, its clock, the stream, and two people who type commands."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.registry import load_registry
from storage.facts.fact import Fact
from storage.facts.sheets import export_csv
from storage.lifecycle import Subject
from storage.months import MonthRow, MonthStore
from stream.context import Context
from stream.policy import Policy
from stream.runner import Runner
from tanyun import people
from tanyun.commands import month, month_life
from tanyun.commands.group import root
from tanyun.config import load_server_config
from tanyun.desk import desk_of
from tests.e2e import year
from verification.document import MonthDocument, parse

PARK = """\
# 园区登记。注释要留下。
id = "park"
name = "示范园区"
grid_scope = "CN-AH"

[[enterprises]]
id = "plant"
name = "示范工厂"

[[sites]]
id = "site"
enterprise = "plant"
name = "一厂"

[[gateways]]
id = "gw"
site = "site"

# 10 kV 关口
[[meters]]
id = "gate"
gateway = "gw"
roles = { energy_import_total = "grid_boundary", energy_export_total = "export" }
ct = "300/5"   # from the drawing
max_power_w = 500000
serial = "GATE-1"

# behind it
[[meters]]
id = "pv"
gateway = "gw"
parent = "gate"
roles = { energy_generation_total = "pv_generation" }
max_power_w = 500000

[[meters]]
id = "line1"
gateway = "gw"
parent = "gate"
roles = { energy_import_total = "sub_meter" }
max_power_w = 500000

[[meters]]
id = "line2"
gateway = "gw"
parent = "gate"
roles = { energy_import_total = "sub_meter" }
max_power_w = 500000
"""
SERVER = """\
registry = "park.toml"
data = "data"
reports = "reports"

[broker]
host = "127.0.0.1"
user = "server"
password_file = "password"
"""


class Office:
    """The server, its clock and the two people who work on it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, patch
        for name, text in (("park.toml", PARK), ("server.toml", SERVER)):
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff both displays")
        self.config = load_server_config(folder / "server.toml")
        self.config.data.mkdir()
        self.gateway = year.Gateway(self.config.journal)
        self.runner: Runner | None = None
        self.on("2025-10-01T00:00")
        self.sits("cli:li")

    def on(self, text: str) -> None:
        """Move the clock."""
        self.now_ms, self.today = year.at(text), date.fromisoformat(text[:10])
        for module, name in ((month, "_now_ms"), (month_life, "_now"), (people, "now_ms")):
            self._patch.setattr(module, name, lambda: self.now_ms)

    def sits(self, name: str) -> None:
        """Who types."""
        for module in (people, month_life):
            self._patch.setattr(module, "operating_user", lambda: name)

    def type(self, *words: str, code: int = 0) -> Result:
        """A command, and the exit code that it must have."""
        given = ["--lang", "en", *words, "--config", str(self.folder / "server.toml")]
        result = CliRunner().invoke(root, given, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    def take_in(self, *facts: Fact, code: int = 0) -> Result:
        """Facts of one kind through a sheet."""
        kind = type(facts[0])
        sheet = self.folder / f"{kind.KIND}.csv"
        sheet.write_bytes(export_csv(kind, facts))
        return self.type("registry", "import", str(sheet), "--why", "sheet", code=code)

    def stream(self, *, restarted: bool = False) -> None:
        """Compute up to the journal's end."""
        policy = Policy(FactorTable.load(), enterprise_policy(), year.ZONE, self.today)
        if self.runner is None or restarted:
            self.stop()
            context = Context(load_registry(self.config.registry), policy)
            self.runner = Runner(self.config.journal, self.config.ledger, context)
        else:
            self.runner.follow_day(policy)
        while self.runner.advance():
            pass

    def stop(self) -> None:
        """Stop the stream."""
        if self.runner is not None:
            self.runner.close()
            self.runner = None

    def row(self, wanted: str, revision: int | None = None) -> MonthRow:
        """The enterprise's revision of a month, the newest by default."""
        with MonthStore(self.config.months, writable=False) as store:
            found = store.get(wanted, "enterprise", "plant", revision)
        assert found is not None
        return found

    def all_rows(self) -> set[tuple[str, str, int, bytes, str]]:
        """Every revision there is, byte for byte."""
        with MonthStore(self.config.months, writable=False) as store:
            return {(r.month, r.scope_id, r.revision, r.document, r.digest) for r in store.list()}

    def document(self, wanted: str) -> MonthDocument:
        """The newest document of the enterprise."""
        return parse(self.row(wanted).document)

    def status(self, wanted: str, revision: int) -> str:
        """Where a revision stands."""
        life = desk_of(self.config, lambda: self.now_ms).life(
            Subject(wanted, "enterprise", "plant", revision)
        )
        assert life is not None
        return life.status

    def answer(self, wanted: str) -> None:
        """Explain every finding of a month, of the enterprise and the park."""
        desk = desk_of(self.config, lambda: self.now_ms)
        for scope, kind in (("plant", "enterprise"), ("park", "park")):
            with MonthStore(self.config.months, writable=False) as store:
                row = store.get(wanted, kind, scope)
            assert row is not None
            life = desk.life(Subject(wanted, kind, scope, row.revision))
            assert life is not None
            for check in life.unanswered:
                self.type("month", "answer", wanted, scope, "--check", check, "--reason", "seen")

    def verify(self, wanted: str) -> None:
        """Send and approve a month: four eyes."""
        self.answer(wanted)
        for scope in ("plant", "park"):
            self.type("month", "send", wanted, scope)
        self.sits("cli:wang")
        for scope in ("plant", "park"):
            self.type("month", "approve", wanted, scope)
        self.sits("cli:li")

    def restate(
        self, first: str, last: str, code: str, approve: Callable[[str], None] | None = None
    ) -> dict[str, object]:
        """Restate months; the summary that was written. `approve` takes the newest month, where not the command does it."""
        words = ("--from", first, "--to", last, "--reason", code, "--note", "see the file", "--json")
        told = json.loads(self.type("month", "restate", *words).stdout)
        summary: dict[str, object] = json.loads(Path(told["summary"]).read_bytes())
        for name in {m[0] for m in told["months"]}:
            self.answer(name)
        self.type("month", "approve-restatement", told["cause"], code=1)
        if approve is not None:
            approve(last)
            return summary
        self.sits("cli:wang")
        self.type("month", "approve-restatement", told["cause"])
        self.sits("cli:li")
        return summary
