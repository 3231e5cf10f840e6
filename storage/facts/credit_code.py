"""统一社会信用代码 (GB 32100-2015): 18 characters, the last one a check character modulo 31."""

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The digits and the letters but I, O, S, V and Z (GB 32100-2015, table 1)."""
_LENGTH = 18
_WEIGHTS = tuple(pow(3, i, 31) for i in range(_LENGTH - 1))


def check_character(first: str) -> str:
    """The check character of the first 17; ValueError when one of them is not in the alphabet."""
    total = sum(ALPHABET.index(char) * weight for char, weight in zip(first, _WEIGHTS, strict=True))
    return ALPHABET[-total % len(ALPHABET)]


def is_credit_code(text: str) -> bool:
    """Whether a text is a code whose check character is right."""
    if len(text) != _LENGTH or any(char not in ALPHABET for char in text):
        return False
    return check_character(text[:-1]) == text[-1]
