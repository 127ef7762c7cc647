"""A text in shades: nothing becomes markup, the darkest is the greatest."""

from __future__ import annotations

import re

import pytest

from roots.errors import ConfigError
from roots.evaluation import ColouredText


def shades(text: ColouredText) -> list[float]:
    return [float(each) for each in re.findall(r"rgba\([^)]*, ([0-9.]+)\)", text._repr_html_())]


def test_the_shade_grows_with_the_value_and_ends_at_the_greatest() -> None:
    assert shades(ColouredText(["a", "b", "c"], [0.0, 2.0, 4.0])) == [0.0, 0.425, 0.85]
    assert shades(ColouredText(["a", "b"], [4.0, 16.0], most=8.0)) == [0.425, 0.85]
    assert shades(ColouredText(["a"], [0.0])) == [0.0]


def test_letters_are_legible_and_the_greatest_is_the_darkest_in_a_dark_notebook_too() -> None:
    html = ColouredText(["a", "b", "c"], [0.0, 2.0, 4.0])._repr_html_()
    blocks = re.findall(r'<div style="([^"]*)"', html)
    assert len(blocks) == 2
    assert all("color: #000; background: #fff;" in block for block in blocks)
    found = re.findall(r"rgba\((\d+), (\d+), (\d+), ([0-9.]+)\)", html)
    shown = [[255 + (int(c) - 255) * float(alpha) for c in rgb] for *rgb, alpha in found]
    light = [luminance(colour) for colour in shown]
    assert light == sorted(light, reverse=True)
    assert min(light) + 0.05 > 4.5 * (luminance([0, 0, 0]) + 0.05)  # WCAG 2, 1.4.3


def luminance(colour: list[float]) -> float:
    """The relative luminance of sRGB as WCAG 2 defines it."""
    parts = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_is_shown_is_text_not_markup() -> None:
    html = ColouredText(["<script>", "\n", "&"], [1.0, 2.0, 3.0], unit="bits")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "⏎\n" in html
    assert 'title="3.00 bits"' in html
    assert "0 to 3 bits" in html


def test_printed_it_is_a_line_for_each_piece() -> None:
    assert str(ColouredText(["a", "\n"], [0.5, 12.25])) == "    0.50  'a'\n   12.25  '\\n'"


def test_values_that_cannot_be_shades_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 pieces have 1 values"):
        ColouredText(["a", "b"], [1.0])
    with pytest.raises(ConfigError, match="A value is -1"):
        ColouredText(["a"], [-1.0])
    for values in ([float("nan")], [1.0, float("nan")], [1.0, float("inf")]):
        with pytest.raises(ConfigError, match=f"A value is {values[-1]:g}"):
            ColouredText(["a", "b"][: len(values)], values)
