"""Small decisions of the edge: hosts, client addresses, places to go, trace ids, static files."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.web.making import settings_of
from web.edge.clients import client_address
from web.edge.headers import security_headers
from web.edge.hosts import Hosts
from web.edge.redirects import local_path
from web.edge.static import StaticFiles
from web.edge.trace import give_trace_id, where_it_failed

PUBLIC = "https://market.example.org"


def hosts(environment: str = "production", public_url: str = PUBLIC) -> Hosts:
    return Hosts(settings_of(environment=environment, public_url=public_url))


def accepts(known: Hosts, *values: str, path: str = "/") -> bool:
    return known.accept(path, [(b"host", value.encode()) for value in values])


@pytest.mark.parametrize("host", ["market.example.org", "MARKET.example.org", "market.example.org:443"])
def test_the_public_host_is_known(host: str) -> None:
    assert accepts(hosts(), host)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "market.example.org.evil.example", "market.example.org:8000", "evil@market.example.org",
     "127.0.0.1", "localhost", "[::1]", "", "market.example.org,evil.example", "market.example.org."],
)  # fmt: skip
def test_any_other_host_is_refused_in_production(host: str) -> None:
    assert not accepts(hosts(), host)


def test_two_host_headers_or_none_are_refused() -> None:
    assert not accepts(hosts(), "market.example.org", "market.example.org")
    assert not accepts(hosts())


def test_probes_may_ask_by_address() -> None:
    assert accepts(hosts(), "10.0.0.7:8000", path="/health/live")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9", "[::1]:8000", "localhost"])
def test_a_demonstration_knows_this_machine_at_any_port(host: str) -> None:
    assert accepts(hosts("demo", "http://127.0.0.1:8000"), host)


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "localhost:", "localhost:80a", "evil.example:8000"])
def test_a_demonstration_knows_nothing_else(host: str) -> None:
    assert not accepts(hosts("demo", "http://127.0.0.1:8000"), host)


@pytest.mark.parametrize(
    "origin", ["null", "", "https://evil.example", "ftp://market.example.org", "market.example.org"]
)
def test_another_origin_is_not_ours(origin: str) -> None:
    assert hosts().is_own_origin(PUBLIC)
    assert not hosts().is_own_origin(origin)


def connection(peer: str | None, forwarded: list[str], proxies: tuple[str, ...]) -> Any:
    headers = SimpleNamespace(getall=lambda _, default: forwarded or default)
    app = SimpleNamespace(state=SimpleNamespace(settings=settings_of(trusted_proxies=proxies)))
    return SimpleNamespace(app=app, headers=headers, client=SimpleNamespace(host=peer) if peer else None)


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "client"),
    [
        ("9.9.9.9", ["1.1.1.1"], (), "9.9.9.9"),
        ("9.9.9.9", ["1.1.1.1"], ("10.0.0.0/8",), "9.9.9.9"),
        ("10.0.0.1", ["1.1.1.1"], ("10.0.0.0/8",), "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], ("10.0.0.0/8",), "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1, 10.0.0.2"], ("10.0.0.0/8",), "1.1.1.1"),
        ("10.0.0.1", ["<script>"], ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", [], ("10.0.0.0/8",), "10.0.0.1"),
        ("fd00::1", ["2001:db8::7"], ("fd00::/8",), "2001:db8::7"),
        (None, [], (), "unknown"),
    ],
)
def test_only_our_proxies_are_believed(peer: str, forwarded: list[str], proxies: tuple[str, ...], client: str) -> None:
    assert client_address(connection(peer, forwarded, proxies)) == client


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", None, "/a\n/b", "/?x"],
)
def test_nobody_is_sent_to_another_site(path: str | None) -> None:
    assert local_path(path) == "/"


def test_a_path_of_ours_is_kept() -> None:
    assert local_path("/orders/ord_12") == "/orders/ord_12"


@pytest.mark.parametrize(
    "given", [b"short", b"x" * 65, b"a\nb-forged-line", b"\x1b[31mred-and-long", "号号号号".encode(), b""]
)
def test_a_request_id_that_could_forge_a_line_is_replaced(given: bytes) -> None:
    scope: dict[str, Any] = {"headers": [(b"x-request-id", given)]}

    assert give_trace_id(scope).encode() != given
    assert len(give_trace_id(scope)) == 16


def test_a_request_id_of_the_right_form_is_kept() -> None:
    assert give_trace_id({"headers": [(b"x-request-id", b"abc-123_DEF.45")]}) == "abc-123_DEF.45"


def test_the_place_of_a_failure_is_told_without_its_words() -> None:
    with pytest.raises(ValueError, match="138") as failure:
        int("+8613800138000x")

    places = where_it_failed(failure.value)

    assert "ValueError: web/test_edge_values.py:" in places[0]
    assert "138" not in str(places)


def test_hsts_is_sent_on_https_alone() -> None:
    names = [name for name, _ in security_headers(settings_of(public_url=PUBLIC))]
    plain = [name for name, _ in security_headers(settings_of(public_url="http://127.0.0.1:8000"))]

    assert b"strict-transport-security" in names
    assert b"strict-transport-security" not in plain


def test_the_policy_lets_in_our_own_scripts_and_the_providers_forms_only() -> None:
    policy = dict(security_headers(settings_of(public_url=PUBLIC)))[b"content-security-policy"].decode()

    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:8420" in policy


def test_a_static_files_address_changes_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a{}")
    first = StaticFiles(tmp_path).url("a.css")
    (tmp_path / "a.css").write_text("b{}")

    assert StaticFiles(tmp_path).url("a.css") != first


def test_only_the_files_that_were_read_are_found(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.css").write_text("a{}")
    (tmp_path / ".secret").write_text("no")
    files = StaticFiles(tmp_path)

    assert files.find("inside/a.css") is not None
    assert [files.find(name) for name in (".secret", "../a", "/etc/passwd", "inside", "inside/../inside/a.css")] == [
        None
    ] * 5
