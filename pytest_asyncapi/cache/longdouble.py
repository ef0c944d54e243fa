"""INCRBYFLOAT's arithmetic: a real server adds C's `long double`s, which Python does not have.

On x86-64 such a number has 64 binary digits, so that 0.1 + 0.2 is shown as 0.3.
"""

from __future__ import annotations

from fractions import Fraction

DIGITS = 64
SHOWN = 17  # decimal places, as Redis' "%.17Lf"


def nearest(value: Fraction) -> Fraction:
    """The `long double` that is nearest to a number."""
    if not value:
        return value
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    if abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (exponent - DIGITS + 1)
    return round(value / unit) * unit


def add(first: bytes, second: bytes) -> bytes:
    """The sum of two numbers as Redis writes it. Both are decimals that Redis has accepted."""
    total = nearest(nearest(Fraction(first.decode())) + nearest(Fraction(second.decode())))
    whole, places = divmod(abs(round(total * 10**SHOWN)), 10**SHOWN)
    text = f"{whole}.{places:0{SHOWN}d}".rstrip("0").rstrip(".")
    return (f"-{text}" if total < 0 and text != "0" else text).encode()
