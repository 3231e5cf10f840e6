"""Text on a terminal, where a Chinese character takes two places."""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Final

import click

from metering.i18n import _

_WIDE_FROM: Final = 0x2E80
_VERBATIM: Final = "\b\n"
"""Click's mark at the start of a paragraph that is not wrapped."""
_PIECE = re.compile(r"[\u2e80-\uffef][、。，；：？！）」』】》]*|[^\s\u2e80-\uffef]+|\s+")
"""What a line may end after: a Chinese character with the marks that close it, a word, a space."""


def width(text: str) -> int:
    """Places that a text takes."""
    return sum(2 if ord(character) >= _WIDE_FROM else 1 for character in text)


def padded(text: str, places: int) -> str:
    """The text with spaces behind it, up to that many places."""
    return text + " " * (places - width(text))


def wrapped(text: str, places: int) -> list[str]:
    """Lines of at most that many places; paragraphs stay apart, marked ones stay as they are."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if lines:
            lines.append("")
        if paragraph.startswith(_VERBATIM):
            lines += paragraph.removeprefix(_VERBATIM).split("\n")
        else:
            lines += _filled(" ".join(paragraph.split()), places)
    return lines


def _filled(paragraph: str, places: int) -> Iterator[str]:
    line = ""
    for piece in _PIECE.findall(paragraph):
        if line and width(line) + width(piece.rstrip()) > places:
            yield line.rstrip()
            line = ""
        line += piece if line else piece.lstrip()
    yield line.rstrip()


def example(*commands: str) -> str:
    """A paragraph of a command's help: lines to copy."""
    return "\n\n".join(
        ["", _VERBATIM + "\n".join([_("Example:"), *(f"  {command}" for command in commands)])]
    )


class Formatter(click.HelpFormatter):
    """Click's help, wrapped by display width instead of by number of characters."""

    def write_text(self, text: str) -> None:
        """Paragraphs at the current indent."""
        indent = " " * self.current_indent
        lines = wrapped(text, self.width - self.current_indent)
        self.write("".join(f"{indent}{line}".rstrip() + "\n" for line in lines))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Options or commands on the left, what they mean on the right."""
        rows, indent = list(rows), " " * self.current_indent
        left = min(max(width(first) for first, _second in rows), col_max) + col_spacing
        for first, second in rows:
            lines = wrapped(second, self.width - left - self.current_indent)
            head = [] if width(first) <= left - col_spacing else [first]
            starts = ["" if head else first, *[""] * (len(lines) - 1)]
            lines = [*head, *(padded(start, left) + line for start, line in zip(starts, lines, strict=True))]
            self.write("".join(f"{indent}{line}".rstrip() + "\n" for line in lines))
