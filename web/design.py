"""The tokens of the style sheet, read from it: sizes, spaces, colours, and how far apart the colours are."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STYLES = Path(__file__).parent / "static" / "surplusflow.css"
READABLE = 4.5
"""The least contrast of text and its ground (WCAG 2.2, 1.4.3)."""
VISIBLE = 3.0
"""The least contrast of the edge of a control and its ground (WCAG 2.2, 1.4.11)."""

GROUNDS = ("ground", "card", "raised")
TEXTS = ("ink", "quiet", "brand", "red", "green", "amber")
SOFT = {"brand-soft": ("ink", "brand"), "red-soft": ("ink", "quiet", "red"), "green-soft": ("ink", "quiet", "green"),
        "amber-soft": ("ink", "quiet", "amber")}  # fmt: skip
STRONG = ("brand-strong", "brand-hover", "red-strong", "green-strong")

_TOKEN = re.compile(r"--sf-([a-z0-9-]+): ([^;]+);")
_PAIR = re.compile(r"light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")
_PLAIN = re.compile(r"#[0-9a-f]{6}")
_LINEAR_BELOW = 0.04045
"""Up to here the sRGB curve is a straight line."""


@dataclass(frozen=True)
class Colour:
    """A token that is a colour, in both themes."""

    name: str
    light: str
    dark: str


@dataclass(frozen=True)
class Contrast:
    """A colour as it stands on another one."""

    text: str
    ground: str
    needed: float
    light: float
    dark: float

    @property
    def suffices(self) -> bool:
        return min(self.light, self.dark) >= self.needed


@cache
def tokens() -> dict[str, str]:
    """All tokens by name, as the style sheet writes them; those of one trend or theme are no tokens of their own."""
    root, _, _ = STYLES.read_text(encoding="utf-8").partition("/* Ground */")
    return dict(_TOKEN.findall(root.partition('[data-theme="light"]')[0]))


@cache
def colours() -> dict[str, Colour]:
    """The tokens that are colours, without the shadows, through which one sees."""
    found = {}
    for name, value in tokens().items():
        if pair := _PAIR.fullmatch(value):
            found[name] = Colour(name, pair[1], pair[2])
        elif _PLAIN.fullmatch(value):
            found[name] = Colour(name, value, value)
    return found


@cache
def sizes(kind: str) -> dict[str, str]:
    """The steps of a scale, ``text`` or ``space``, smallest first."""
    steps = {name: value for name, value in tokens().items() if name == kind or name.startswith(f"{kind}-")}
    return dict(sorted(steps.items(), key=lambda step: float(step[1].removesuffix("rem"))))


@cache
def contrasts() -> list[Contrast]:
    """Every colour of text on every ground that it stands on, and the edges of controls."""
    pairs = [(text, ground, READABLE) for ground in GROUNDS for text in TEXTS]
    pairs += [(text, ground, READABLE) for ground, texts in SOFT.items() for text in texts]
    pairs += [("on-strong", ground, READABLE) for ground in STRONG]
    pairs += [("edge", ground, VISIBLE) for ground in GROUNDS]
    known = colours()
    return [
        Contrast(
            text,
            ground,
            needed,
            contrast(known[text].light, known[ground].light),
            contrast(known[text].dark, known[ground].dark),
        )
        for text, ground, needed in pairs
    ]


def contrast(one: str, other: str) -> float:
    """How far two colours are apart in brightness, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= _LINEAR_BELOW else ((channel + 0.055) / 1.055) ** 2.4
