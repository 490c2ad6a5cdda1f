"""The design system: colours that everybody can tell apart, and a page that shows every part."""

import re

import pytest

from tests.pages.conftest import Browser
from web import design
from web.pages.rendering import TEMPLATES


@pytest.mark.parametrize("pair", design.contrasts(), ids=lambda pair: f"{pair.text}-on-{pair.ground}")
def test_text_and_edges_can_be_told_from_their_ground_in_both_themes(pair: design.Contrast) -> None:
    assert pair.suffices, f"{pair.light:.2f} in light colours, {pair.dark:.2f} in dark ones"


def test_contrast_is_measured_as_the_guideline_says() -> None:
    assert design.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert design.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert design.contrast("#123456", "#123456") == pytest.approx(1)


def test_every_colour_of_text_and_every_ground_is_among_the_pairs() -> None:
    named = {name for pair in design.contrasts() for name in (pair.text, pair.ground)}

    assert set(design.colours()) - named == {"line"}, "a line only parts what is apart anyway"


async def test_the_style_guide_is_open_to_everybody_and_shows_every_token(browser: Browser) -> None:
    await browser.get("/styleguide")

    for name in (*design.sizes("text"), *design.sizes("space")):
        assert f"<code>{name}</code>" in browser.text
    for pair in design.contrasts():
        assert f"<code>{pair.text}</code> / <code>{pair.ground}</code>" in browser.text


def test_the_style_guide_shows_every_macro_in_use() -> None:
    macros, guide = ((TEMPLATES / name).read_text() for name in ("macros.html", "styleguide.html"))
    parts = re.compile(r"macro (\w+_tag|money|quantity|price|time|state|change|notice|empty|dialog|hub_link)\(")

    assert set(parts.findall(macros)) <= set(re.findall(r"ui\.(\w+)\(", guide))
