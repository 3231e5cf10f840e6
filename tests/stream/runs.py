"""A stream from the first frame to the last, as `tanyun stream run` would have done it by now."""

from pathlib import Path

from stream.context import Context
from stream.runner import Runner


def run_through(journal: Path, ledger: Path, context: Context) -> None:
    """Everything that the journal has, into the ledger."""
    runner = Runner(journal, ledger, context)
    while runner.advance():
        pass
    runner.close()
