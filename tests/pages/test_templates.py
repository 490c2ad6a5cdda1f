"""House rules of the templates, read from their sources."""

import re
from pathlib import Path

import pytest

from web.edge.static import StaticFiles
from web.pages.rendering import TEMPLATES, environment

SOURCES = {path.name: path.read_text() for path in sorted(TEMPLATES.glob("*.html"))}
OWN_STYLES = Path(__file__).parents[2] / "web" / "static" / "surplusflow.css"
TAKES_MONEY = (
    "/instruments/",
    "/orders/",
    "/wallet/",
    "/coins/gifts",
    "/coins/redemptions",
    "/tank/",
    "/partner/handouts",
    "/officer/markets",
)


@pytest.mark.parametrize("name", SOURCES)
def test_every_template_compiles(name: str) -> None:
    environment.get_template(name)


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_inline_that_the_content_policy_would_refuse(name: str) -> None:
    source = SOURCES[name]

    assert not re.search(r"<script(?![^>]*\ssrc=)", source)
    assert not re.search(r"<style|\sstyle=", source)
    assert not re.search(r"\s(?:hx-)?on[a-z:-]+=", source)
    assert "js:" not in source
    assert "javascript:" not in source


@pytest.mark.parametrize("name", SOURCES)
def test_triggers_have_no_conditions_which_the_browser_would_have_to_evaluate(name: str) -> None:
    assert not any("[" in trigger for trigger in re.findall(r'hx-trigger="([^"]*)"', SOURCES[name]))


@pytest.mark.parametrize("name", SOURCES)
def test_every_form_that_changes_something_brings_its_token(name: str) -> None:
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", SOURCES[name], re.DOTALL):
        assert "ui.csrf()" in form


ONCE_ANYWAY = ("/wallet/payouts", "/wallet/cards/forget", "/wallet/phone-bill/{{")
"""A setting, a card to forget, and the payment that the address names: said twice, the second says nothing new."""


@pytest.mark.parametrize("name", SOURCES)
def test_every_form_that_moves_money_or_data_brings_an_idempotency_key(name: str) -> None:
    for action, form in re.findall(
        r"<form[^>]*method=\"post\"[^>]*?\saction=\"([^\"]*)\"(.*?)</form>", SOURCES[name], re.DOTALL
    ):
        if action.startswith(TAKES_MONEY) and not action.startswith(ONCE_ANYWAY):
            assert 'name="key"' in form, action


@pytest.mark.parametrize("name", SOURCES)
def test_what_htmx_sends_goes_where_it_would_go_without_script(name: str) -> None:
    for form in re.findall(r"<form[^>]*hx-post[^>]*>", SOURCES[name]):
        assert re.search(r'\saction="([^"]*)"', form)[1] == re.search(r'hx-post="([^"]*)"', form)[1]  # type: ignore[index]


@pytest.mark.parametrize("name", SOURCES)
def test_every_column_heading_names_its_scope(name: str) -> None:
    assert not re.search(r"<th(?![^>]*scope=)[ >]", SOURCES[name])


def test_every_static_file_that_a_template_names_exists() -> None:
    files = StaticFiles()

    for source in SOURCES.values():
        for named in re.findall(r"static\('([^']*)'\)", source):
            assert files.url(named)


def test_every_icon_that_is_named_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="([a-z]+)"', (OWN_STYLES.parent / "icons.svg").read_text()))
    named = {name for source in SOURCES.values() for name in re.findall(r'icon\("([a-z]+)"', source)}

    assert named <= drawn


def test_colours_are_named_once_as_tokens() -> None:
    _, _, below = OWN_STYLES.read_text().partition("/* Ground */")
    plain = re.findall(r"#[0-9a-f]{3,8}\b", re.sub(r"#[a-z][a-z-]*", "", below))

    assert not plain


def test_sizes_of_text_are_named_once_as_tokens() -> None:
    _, _, below = OWN_STYLES.read_text().partition("/* Ground */")

    assert not re.findall(r"font-size: (?!var\(--sf-text|\d+pt;)[^;]+;", below), "on paper sizes are points"


def test_styles_ask_no_other_address() -> None:
    assert "http" not in OWN_STYLES.read_text()
