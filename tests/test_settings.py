"""Settings: every problem named at once, nothing of a demonstration in production, no secret shown."""

from pathlib import Path

import pytest

from market.settings import BadSettings, Settings, carriers_from_toml

SECRET = "kq7Zt0aVd3LwP9xRmB2uYh5JcNsE8fGo"
CARRIERS = """
[[carrier]]
code = "CMCC"
name_zh = "中国移动"
name_en = "China Mobile"
base_url = "https://api.carrier.example/v1"
credential = "Xw83hd72KqPz"
"""
PRODUCTION = {
    "SURPLUSFLOW_DATABASE_URL": "postgresql://market:b3tterPassw0rd@db.example/market?sslmode=verify-full",
    "SURPLUSFLOW_REDIS_URL": "rediss://:an0therPassw0rd@cache.example/0",
    "SURPLUSFLOW_SECRET_KEY": SECRET,
    "SURPLUSFLOW_PUBLIC_URL": "https://market.example/",
    "SURPLUSFLOW_CARRIERS": CARRIERS,
    "SURPLUSFLOW_STRIPE_API_KEY": "sk_live_4Hc9",
    "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_9sKd",
}
DEMO = {
    "SURPLUSFLOW_ENVIRONMENT": "demo",
    "SURPLUSFLOW_DATABASE_URL": "postgresql+asyncpg://postgres@/surplusflow?host=/run/postgres",
    "SURPLUSFLOW_REDIS_URL": "redis://127.0.0.1:6400/0",
    "SURPLUSFLOW_SECRET_KEY": f"demo_{SECRET}",
    "SURPLUSFLOW_PUBLIC_URL": "http://127.0.0.1:8000",
    "SURPLUSFLOW_CARRIERS": CARRIERS.replace("https://api.carrier.example/v1", "http://127.0.0.1:8001/cmcc"),
    "SURPLUSFLOW_STRIPE_API_KEY": "sk_test_sim_1",
    "SURPLUSFLOW_STRIPE_API_BASE": "http://127.0.0.1:8002",
    "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_1",
}


def problems_of(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as refusal:
        Settings.from_environment(environ)
    return refusal.value.problems


def test_production_is_the_default() -> None:
    assert Settings.from_environment(PRODUCTION).is_production


def test_an_empty_environment_is_refused_with_everything_that_is_missing() -> None:
    problems = problems_of({})

    missing = {problem.partition(" ")[0] for problem in problems}
    assert missing == set(PRODUCTION)


def test_a_demonstration_may_use_simulators_on_this_machine() -> None:
    settings = Settings.from_environment(DEMO)

    assert settings.payment.api_base == "http://127.0.0.1:8002"
    assert settings.carriers[0].base_url == "http://127.0.0.1:8001/cmcc"


def test_nothing_of_a_demonstration_is_accepted_in_production() -> None:
    problems = problems_of(
        DEMO
        | {
            "SURPLUSFLOW_ENVIRONMENT": "production",
            "SURPLUSFLOW_CARRIERS": DEMO["SURPLUSFLOW_CARRIERS"].replace("Xw83", "demo_"),
            "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_demo_1",
        }
    )

    assert len(problems) == 7
    for words in (
        "SECRET_KEY belongs to a demonstration",
        "PUBLIC_URL must begin with https://",
        "CARRIERS base_url of CMCC must begin with https://",
        "CARRIERS credential of CMCC belongs to a demonstration",
        "STRIPE_API_KEY belongs to the payment simulator",
        "STRIPE_WEBHOOK_SECRET belongs to a demonstration",
        "STRIPE_API_BASE must begin with https://",
    ):
        assert any(words in problem for problem in problems), words


@pytest.mark.parametrize("host", ["127.0.0.1:8443", "localhost", "[::1]:1", "pay.localhost"])
def test_production_speaks_to_no_provider_on_its_own_machine(host: str) -> None:
    problems = problems_of(PRODUCTION | {"SURPLUSFLOW_STRIPE_API_BASE": f"https://{host}"})

    assert problems == ("SURPLUSFLOW_STRIPE_API_BASE points at this machine, where only a simulator answers.",)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("tiny", "too short"),
        ("a" * 64, "easy to guess"),
        ("change-me-please-0123456789-abcdefgh", "demonstration"),
    ],
)
def test_a_weak_secret_stops_production(key: str, words: str) -> None:
    (problem,) = problems_of(PRODUCTION | {"SURPLUSFLOW_SECRET_KEY": key})

    assert words in problem
    assert key not in problem


def test_no_secret_is_in_the_words_of_the_settings() -> None:
    shown = repr(Settings.from_environment(PRODUCTION))

    for secret in (SECRET, "b3tterPassw0rd", "an0therPassw0rd", "Xw83hd72KqPz", "sk_live_4Hc9", "whsec_9sKd"):
        assert secret not in shown


@pytest.mark.parametrize(
    "given", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+asyncpg://u@h/d", "postgresql+psycopg://u@h/d"]
)
def test_any_form_of_a_postgresql_address_will_do(given: str) -> None:
    settings = Settings.from_environment(PRODUCTION | {"SURPLUSFLOW_DATABASE_URL": given})

    assert settings.database_url == "postgresql+asyncpg://u@h/d"
    assert settings.database_dsn == "postgresql://u@h/d"


def test_tls_to_postgresql_survives_both_forms_of_its_address() -> None:
    settings = Settings.from_environment(PRODUCTION)

    assert settings.database_url.endswith("?ssl=verify-full")
    assert settings.database_dsn.endswith("?sslmode=verify-full")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "staging"),
        ("DATABASE_URL", "mysql://h/d"),
        ("REDIS_URL", "http://h"),
        ("PUBLIC_URL", "market.example"),
        ("SHARDS", "0"),
        ("SHARDS", "two"),
        ("CURRENCY", "yuan"),
        ("TIMEZONE", "Asia/Nowhere"),
        ("TIMEZONE", "../../etc/passwd"),
        ("CARRIERS", "/there/is/no/such/file.toml"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    (problem,) = problems_of(PRODUCTION | {f"SURPLUSFLOW_{name}": value})

    assert problem.startswith(f"SURPLUSFLOW_{name} ")


def test_carriers_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "carriers.toml"
    file.write_text(CARRIERS, encoding="utf-8")

    settings = Settings.from_environment(PRODUCTION | {"SURPLUSFLOW_CARRIERS": str(file)})

    assert [profile.code for profile in settings.carriers] == ["CMCC"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[carrier]", "is not TOML"),
        ("", "names no carrier"),
        ("carrier = [1]", "not a list of"),
        (CARRIERS + CARRIERS, "names a carrier twice: CMCC"),
        (CARRIERS.replace("base_url", "base_urls"), "lacks base_url"),
        (CARRIERS + "colour = 'blue'", "unknown colour"),
        (CARRIERS + "timeout_seconds = 0", "unusable value for timeout_seconds"),
        (CARRIERS + "timeout_seconds = true", "unusable value for timeout_seconds"),
        (CARRIERS.replace('"Xw83hd72KqPz"', '""'), "unusable value for credential"),
    ],
)
def test_a_carrier_that_cannot_be_used_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        carriers_from_toml(text)


def test_a_request_cannot_outlive_its_own_time_out_by_less_than_nothing() -> None:
    slow = CARRIERS + "timeout_seconds = 30\nmax_in_flight_seconds = 10"

    (problem,) = problems_of(PRODUCTION | {"SURPLUSFLOW_CARRIERS": slow})

    assert "max_in_flight_seconds of CMCC is shorter than its timeout_seconds" in problem
