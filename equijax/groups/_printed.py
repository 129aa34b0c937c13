"""A character table as a reader writes it: 1, -1, i, (1+√5)/2, ζ7+ζ7^2+ζ7^4."""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from equijax.groups._characters import Characters

_TOLERANCE = 1e-9


def printed_table(characters: "Characters") -> str:
    """Returns the table as aligned text, with class representatives, sizes and orders of elements on top."""
    columns = range(len(characters.classes))
    rows = [
        ["class", "", *(str(members[0]) for members in characters.classes)],
        ["size", "", *map(str, characters.sizes.tolist())],
        ["order", "", *(str(characters.roots(0, c).size) for c in columns)],
    ]
    for k, kind in enumerate(characters.types):
        rows.append([f"χ{k}", kind, *(printed_entry(characters.roots(k, c)) for c in columns)])
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    left = [f"{row[0]:<{widths[0]}} {row[1]:<{widths[1]}}" for row in rows]
    cells = ["".join(f"  {cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True)) for row in rows]
    return "\n".join((a + b).rstrip() for a, b in zip(left, cells, strict=True))


def printed_entry(roots: np.ndarray) -> str:
    """Writes a sum of roots of unity: an integer, square roots and i where these suffice, else powers of ζ."""
    m = len(roots)
    angles = 2 * np.pi * np.arange(m) / m
    real, imaginary = _quadratic(float(roots @ np.cos(angles))), _quadratic(float(roots @ np.sin(angles)))
    if real is None or imaginary is None:
        return _powers(roots)
    if imaginary == "0":
        return real
    if roots.sum() == 1 and real != "0":
        return _powers(roots)
    unit = {"1": "i", "-1": "-i"}.get(imaginary, imaginary + "i" if imaginary.lstrip("-").isdigit() else f"{imaginary}·i")
    if real == "0":
        return unit
    return real + (unit if unit.startswith("-") else "+" + unit)


def _quadratic(x: float) -> str | None:
    """Writes x as (a + b√c)/q with small integers, or returns None."""
    for q in (1, 2):
        for c in (1, 2, 3, 5, 6, 7, 10, 11, 13, 15, 17, 19):
            for b in (0,) if c == 1 else (1, -1, 2, -2):
                a = q * x - b * math.sqrt(c)
                if abs(a - round(a)) < _TOLERANCE:
                    return _surd(round(a), b, c, q)
    return None


def _surd(a: int, b: int, c: int, q: int) -> str:
    root = {0: "", 1: f"√{c}", -1: f"-√{c}"}.get(b, f"{b}√{c}")
    if q == 1:
        return str(a) if not b else root if not a else f"{a}{'+' if b > 0 else ''}{root}"
    if not a or not b:
        return f"{root or a}/{q}"
    return f"({a}{'+' if b > 0 else ''}{root})/{q}"


def _powers(roots: np.ndarray) -> str:
    step = math.gcd(len(roots), *np.flatnonzero(roots).tolist())
    roots = roots[::step]
    m, terms = len(roots), []
    for j in np.flatnonzero(roots).tolist():
        power = "1" if j == 0 else f"ζ{m}" if j == 1 else f"ζ{m}^{j}"
        count = int(roots[j])
        terms.append(str(count) if j == 0 else power if count == 1 else f"{count}{power}")
    return "+".join(terms)
