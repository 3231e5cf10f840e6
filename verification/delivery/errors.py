"""What can go wrong on the way."""


class DeliveryError(Exception):
    """The other side did not take it, or could not be reached; it is tried again."""
