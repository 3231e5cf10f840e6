"""Adaptors: how an upload's items are written down. A connection would be one more of them.

The system encrypts every field with a key that it hands out at registration, by a method that is not public; none of that is
here, and no connection is claimed. What is written is for the enterprise's own access device or platform page to take.
"""

import csv
import io
from typing import Protocol

import msgspec

from verification.national.items import Item, Upload


class Adaptor(Protocol):
    """Writes one upload."""

    extension: str

    def write(self, upload: Upload) -> bytes:
        """The same upload gives the same bytes."""
        ...


class JsonAdaptor:
    """The body of `uploadEnergyData` without the device's id and before encryption."""

    extension = "json"

    def write(self, upload: Upload) -> bytes:
        """UTF-8, indented."""
        return msgspec.json.format(msgspec.json.encode(upload.envelope), indent=1) + b"\n"


class CsvAdaptor:
    """One row per item, for a spreadsheet (UTF-8 with a byte order mark, CRLF)."""

    extension = "csv"

    def write(self, upload: Upload) -> bytes:
        """The enterprise's code is the first column."""
        text = io.StringIO()
        text.write("\ufeff")
        writer = csv.writer(text)
        writer.writerow(("enterpriseCode", *Item.__struct_fields__))
        code = upload.envelope.enterpriseCode
        writer.writerows((code, *msgspec.structs.astuple(item)) for item in upload.envelope.data)
        return text.getvalue().encode()


ADAPTORS: dict[str, Adaptor] = {adaptor.extension: adaptor for adaptor in (JsonAdaptor(), CsvAdaptor())}
"""By the name of the option --format."""
