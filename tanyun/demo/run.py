"""The demo's course: start everything, live through the past, close last month, go on live until told to stop."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import click

from metering.i18n import _
from metering.intervals import iso, local_month, month_of, next_month
from metering.registry import Park
from storage.ledger import LedgerReader
from storage.months import MonthRow, MonthStore
from tanyun.commands.month import close
from tanyun.commands.registry import change
from tanyun.commands.report import write_all
from tanyun.config import load_server_config
from tanyun.demo.facts import facts
from tanyun.demo.layout import Layout
from tanyun.demo.watch import ClockWatch, Progress
from tanyun.supervisor import Supervisor

_PAUSE_S = 0.1
_BAR = 30


def finished_months(start_ms: int, now_ms: int, park: Park) -> list[str]:
    """The months that lie wholly between start and now."""
    months, month = [], month_of(start_ms, park.tz)
    while local_month(month, park.tz).end_ms <= now_ms:
        if local_month(month, park.tz).start_ms >= start_ms:
            months.append(month)
        month = next_month(month)
    return months


class Course:
    """One run of the demo."""

    def __init__(self, layout: Layout, stop: threading.Event) -> None:
        self._layout, self._stop = layout, stop
        data = layout.server_config.parent
        self._config = load_server_config(layout.server_config)
        self._supervisor = Supervisor(layout.children, data / "run" / "processes.json")
        self._watch = ClockWatch(layout.clock_port)
        self._shown = -1.0

    def run(self, *, once: bool) -> None:
        """All of it. ChildConfigError when a process finds its configuration wrong."""
        with self._supervisor:
            self._say_where()
            self._until(lambda progress: progress is not None and progress.live, show=True)
            progress = self._watch.progress
            if self._stop.is_set() or progress is None:
                return
            self._until(partial(self._accounted, progress.tick_ms))
            for month in finished_months(progress.start_ms, progress.now_ms, self._layout.park):
                if not self._stop.is_set():
                    self._close(month)
            if not once and not self._stop.is_set():
                click.echo(_("Live now, at real time. Ctrl-C stops everything; the data are kept."))
                self._until(lambda _progress: False)
        self._watch.close()

    def _until(self, done: Callable[[Progress | None], bool], *, show: bool = False) -> None:
        """Keep everything running until `done`, or until told to stop."""
        while not self._stop.wait(_PAUSE_S):
            self._supervisor.poll()
            progress = self._watch.poll()
            if show and progress is not None:
                self._show(progress)
            if done(progress):
                return

    def _say_where(self) -> None:
        api = f"http://{self._config.api.host}:{self._config.api.port}"
        name, password = self._layout.login
        lines = {
            _("page"): f"{api}/",
            _("sign in as"): _("{name}, password {password}").format(name=name, password=password),
            _("API documentation"): f"{api}/docs",
            _("reports"): str(self._layout.out),
            _("data, logs, processes"): str(self._config.data),
            _("broker"): f"{self._layout.broker.kind} 127.0.0.1:{self._layout.broker.port}",
        }
        for what, place in lines.items():
            click.echo(f"  {what}: {place}")

    def _show(self, progress: Progress) -> None:
        """A bar on a terminal, a line per five per cent elsewhere."""
        terminal = sys.stdout.isatty()
        step = 0.002 if terminal else 0.05
        if progress.share - self._shown < step and not progress.live:
            return
        self._shown = progress.share
        done = int(progress.share * _BAR)
        bar = "█" * done + "░" * (_BAR - done)
        text = _("living through the past: {bar} {percent:3.0f} %  {time}").format(
            bar=bar, percent=progress.share * 100, time=iso(progress.tick_ms, self._layout.park.tz)
        )
        click.echo(("\r" if terminal else "") + text, nl=not terminal or progress.live)

    def _accounted(self, until_ms: int, _progress: Progress | None) -> bool:
        """True when every total with a role is in the ledger up to a time."""
        wanted = {(meter.id, kind) for meter in self._layout.park.meters for kind in meter.roles}
        with suppress(FileNotFoundError), LedgerReader(self._config.ledger) as ledger:
            return wanted <= {
                (row.meter, row.reading_type) for row in ledger.progress() if row.t_ms >= until_ms
            }
        return False

    def _close(self, month: str) -> None:
        started = time.perf_counter()
        if not self._is_closed(month):
            self._register(month)
            close(self._layout.server_config, month, None, allow_incomplete=False)
        paths = write_all(self._layout.server_config, month, self._layout.out)
        seconds = time.perf_counter() - started
        click.echo(_("{month} closed, {count} report files written in {seconds:.1f} s:").format(
            month=month, count=len(paths), seconds=seconds))  # fmt: skip
        for row in self._rows(month):
            self._summarise(row)

    def _register(self, month: str) -> None:
        """Fill in what people would: the registry's facts of the month."""
        with LedgerReader(self._config.ledger) as ledger:
            change(self._config, "demo", facts(self._layout.park, month, ledger))

    def _rows(self, month: str) -> list[MonthRow]:
        with MonthStore(self._config.months, writable=False) as months:
            return months.list(month)

    def _is_closed(self, month: str) -> bool:
        return self._config.months.exists() and bool(self._rows(month))

    def _summarise(self, row: MonthRow) -> None:
        names = ", ".join(
            f"{row.scope_id}_{row.month}_r{row.revision}.{ending}" for ending in ("pdf", "xlsx", "json")
        )
        click.echo(f"  {row.scope_id:10} {row.outcome:20} {names}")
