"""What can go wrong with a store."""


class StoreError(Exception):
    """A store cannot be used as it is. The message names the file and the cure."""


class SchemaError(StoreError):
    """The file was written by another schema version (ours to migrate; a retry does not help)."""


class CorruptError(StoreError):
    """The file's content contradicts its own digests."""
