"""What can go wrong with an evidence pack."""


class PackError(Exception):
    """A pack cannot be made, or a file is no pack at all (the operator's to mend)."""


class KeyFileError(Exception):
    """A key file is missing, is there already, or holds no Ed25519 key (the operator's to mend)."""
