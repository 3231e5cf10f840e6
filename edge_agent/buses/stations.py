"""Who is asked on a bus."""

from typing import Final

Station = int | str
"""A Modbus unit, or a DL/T 645 address of twelve digits."""
WILDCARD: Final = "A" * 12
"""The only DL/T 645 meter of a line, whatever its address."""
