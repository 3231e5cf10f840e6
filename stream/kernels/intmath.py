"""Integer arithmetic that stays exact where a product leaves 64 bits."""

from stream.kernels import kernel


@kernel
def mul_div_floor(a: int, b: int, c: int) -> int:
    """floor(a·b / c) for b ≥ 0, c > 0, as long as the result fits int64; the product may need 126 bits.

    A result that does not fit comes out modulo 2^64, so that differences of two results that do fit are right.

    a = q·c + r, so a·b/c = q·b + r·b/c with r < c. When r·b still leaves 62 bits, it is divided bit by bit.
    """
    q = a // c
    r = a - q * c
    if r < 1 << 31 and b < 1 << 31:
        return q * b + r * b // c
    if r == 0 or b < (1 << 62) // r:
        return q * b + r * b // c
    whole = 0
    rest = 0
    for shift in range(62, -1, -1):
        whole <<= 1
        # rest·2 + r·bit, reduced by c without ever exceeding 64 bits: rest < c and r < c
        over = rest >= c - rest
        rest = rest - (c - rest) if over else rest + rest
        whole += 1 if over else 0
        if (b >> shift) & 1:
            over = rest >= c - r
            rest = rest - (c - r) if over else rest + r
            whole += 1 if over else 0
    return q * b + whole
