"""What the environment says: read once, checked as a whole, refused with every problem named."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo

from settlement.carriers.opening import DIALECTS
from settlement.carriers.values import CarrierProfile
from settlement.payments.values import PaymentSettings

PREFIX = "SURPLUSFLOW_"
SECRET_KEY_CHARACTERS = 32
SECRET_KEY_DISTINCT_CHARACTERS = 10
# `surplusflow up` makes every secret of a demonstration with this mark, so that production can tell it.
DEMO_MARK = "demo_"
DEMO_API_KEY = "sk_test_sim"
SHARDS_MAX = 1024
CARRIER_SECONDS_MAX = 3_600
COUNTS = {"at_once": 256, "bulk_size": 100}
"""The largest of each whole number that a carrier's table may give."""
STRIPE_TIMEOUT_SECONDS = 10

Environment = Literal["demo", "production"]


class BadSettings(Exception):
    """The environment cannot be used. `problems` holds one sentence for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The settings cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One installation's settings. Whatever may hold a secret stays out of `repr`."""

    environment: Environment
    database_url: str = field(repr=False)
    """PostgreSQL, in SQLAlchemy's form: `postgresql+asyncpg://...`."""
    redis_url: str = field(repr=False)
    data_dir: Path
    """Where reports, logs and, in a demonstration, the embedded servers keep their files."""
    secret_key: str = field(repr=False)
    public_url: str
    """The web's own address as its visitors see it, without a slash at the end."""
    bind_host: str
    carriers: tuple[CarrierProfile, ...] = field(repr=False)
    payment: PaymentSettings = field(repr=False)
    shards: int
    currency: str
    timezone: ZoneInfo
    trusted_proxies: tuple[str, ...] = ()
    """Networks of the proxies in front of the web: only they are believed when they say for whom they ask."""
    step_up_sale_minor: int = 20_000
    """A sale of so much money or more asks for a fresh proof that it is the member who sells."""
    allowance_month_minor: int = 2_000_000
    """What a subscriber with a phone may trade within 30 days once the account is old enough."""
    first_trade_minor: int = 200_000
    """What the first order of a subscriber may come to."""
    tank_monthly_mb: int = 1_000
    """What a line takes out of the community tank in a month at the most."""
    tank_from_day: int = 21
    """The day of the carrier's month from which on data can be taken out of the tank."""
    secrets_until: Mapping[str, date] = field(default_factory=dict)
    """The last day on which a secret or key is good, by a name that tells which; never the secret."""
    certificates: tuple[Path, ...] = ()
    """PEM files whose ends are watched: of this web, or those by which carriers know us."""
    volumes: tuple[Path, ...] = ()
    """Folders on the volumes that hold the database, where this machine has them: what is free there is watched."""
    carrier_away_minutes: int = 10
    """How long a carrier may be away before its markets only let orders go."""
    carrier_breaks: int = 20
    """How many new breaks of one reconciliation stop a carrier's markets until an officer has looked."""
    carrier_push_days: int = 30
    """How long statuses that carriers pushed are kept once they were read."""
    phone_bill_wait_days: int = 7
    """How long money off the phone bill can be spent before it can be withdrawn."""

    @property
    def database_dsn(self) -> str:
        """The same PostgreSQL in the form that `asyncpg.connect` takes."""
        return _rename_parameter(self.database_url.replace("+asyncpg", "", 1), "ssl", "sslmode")

    @property
    def is_production(self) -> bool:
        return self.environment == "production"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and check everything at once.

        An installation is in production unless it says otherwise, so that forgetting to say so can only be too strict.

        Raises:
            BadSettings: naming every problem found, never a secret's value.
        """
        reader = _Reader(environ)
        settings = reader.settings()
        if settings is None:
            raise BadSettings(reader.problems)
        return settings


def carriers_from_toml(text: str) -> tuple[CarrierProfile, ...]:
    """The carriers of a TOML text: one `[[carrier]]` table each, with the fields of `CarrierProfile`.

    Raises:
        ValueError: saying in words what is wrong with the text.
    """
    try:
        tables = tomllib.loads(text).get("carrier", [])
    except tomllib.TOMLDecodeError as error:
        msg = f"is not TOML: {error}"
        raise ValueError(msg) from error
    if not isinstance(tables, list) or not tables:
        raise ValueError("names no carrier: give at least one [[carrier]] table")

    profiles = tuple(_carrier(number, table) for number, table in enumerate(tables, start=1))

    codes = [profile.code for profile in profiles]
    if repeated := sorted({code for code in codes if codes.count(code) > 1}):
        raise ValueError(f"names a carrier twice: {', '.join(repeated)}")
    return profiles


def _carrier(number: int, table: Any) -> CarrierProfile:
    if not isinstance(table, dict):
        raise ValueError("is not a list of [[carrier]] tables")
    known = fields(CarrierProfile)
    missing = {one.name for one in known if one.default is MISSING} - table.keys()
    unknown = table.keys() - {one.name for one in known}
    wrong = {name for name, value in table.items() if name not in unknown and not _fits(name, value)}
    for names, words in ((missing, "lacks"), (unknown, "has unknown"), (wrong, "has an unusable value for")):
        if names:
            msg = f"has a carrier (number {number}) that {words} {', '.join(sorted(names))}"
            raise ValueError(msg)
    return CarrierProfile(**table)


def _fits(name: str, value: Any) -> bool:
    if name.endswith("_seconds"):
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= CARRIER_SECONDS_MAX
    if name == "phone_bill":
        return isinstance(value, bool)
    if name in COUNTS:
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= COUNTS[name]
    return isinstance(value, str) and bool(value.strip())


class _Reader:
    """Reads one environment and keeps what is wrong with it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def settings(self) -> Settings | None:
        environment = self._environment()
        production = environment == "production"
        values: dict[str, Any] = {
            "environment": environment,
            "database_url": self._database_url(),
            "redis_url": self._url("REDIS_URL", ("redis", "rediss", "unix")),
            "data_dir": Path(self._text("DATA_DIR", ".data")).absolute(),
            "secret_key": self._secret_key(production),
            "public_url": self._public_url(production),
            "bind_host": self._text("BIND_HOST", "127.0.0.1"),
            "carriers": self._carriers(production),
            "payment": self._payment(production),
            "shards": self._shards(),
            "currency": self._checked("CURRENCY", "CNY", _currency),
            "timezone": self._checked("TIMEZONE", "Asia/Shanghai", ZoneInfo),
            "trusted_proxies": self._checked("TRUSTED_PROXIES", "", _networks),
            "step_up_sale_minor": self._checked("STEP_UP_SALE_MINOR", "20000", _positive),
            "allowance_month_minor": self._checked("ALLOWANCE_MONTH_MINOR", "2000000", _positive),
            "first_trade_minor": self._checked("FIRST_TRADE_MINOR", "200000", _positive),
            "tank_monthly_mb": self._checked("TANK_MONTHLY_MB", "1000", _positive),
            "tank_from_day": self._checked("TANK_FROM_DAY", "21", _day_of_month),
            "secrets_until": self._checked("SECRETS_UNTIL", "", _days),
            "certificates": self._checked("CERTIFICATES", "", _files),
            "volumes": self._checked("VOLUMES", "", _files),
            "carrier_away_minutes": self._checked("CARRIER_AWAY_MINUTES", "10", _positive),
            "carrier_breaks": self._checked("CARRIER_BREAKS", "20", _positive),
            "carrier_push_days": self._checked("CARRIER_PUSH_DAYS", "30", _positive),
            "phone_bill_wait_days": self._checked("PHONE_BILL_WAIT_DAYS", "7", _positive),
        }
        return None if self.problems else Settings(**values)

    def _refuse(self, name: str, words: str) -> None:
        self.problems.append(f"{PREFIX}{name} {words}.")

    def _text(self, name: str, default: str = "") -> str:
        return self._environ.get(PREFIX + name, "").strip() or default

    def _required(self, name: str, what: str) -> str:
        text = self._text(name)
        if not text:
            self._refuse(name, f"is missing: set it to {what}")
        return text

    def _checked(self, name: str, default: str, parse: Callable[[str], Any]) -> Any:
        text = self._text(name, default)
        try:
            return parse(text)
        except (ValueError, KeyError, OSError):
            self._refuse(name, f"is {text!r}, which is not known")
            return None

    def _environment(self) -> Environment:
        text = self._text("ENVIRONMENT", "production")
        if text == "demo":
            return "demo"
        if text != "production":
            self._refuse("ENVIRONMENT", f"is {text!r}: it is either production or demo")
        return "production"

    def _database_url(self) -> str:
        text = self._url("DATABASE_URL", ("postgresql", "postgres"))
        _, _, rest = text.partition("://")
        return _rename_parameter(f"postgresql+asyncpg://{rest}", "sslmode", "ssl")

    def _url(self, name: str, schemes: tuple[str, ...]) -> str:
        text = self._required(name, f"an address that begins with {schemes[0]}://")
        if text and urlsplit(text).scheme.partition("+")[0] not in schemes:
            self._refuse(name, f"must begin with {schemes[0]}://")
        return text

    def _secret_key(self, production: bool) -> str:
        key = self._required("SECRET_KEY", f"at least {SECRET_KEY_CHARACTERS} random characters")
        if not key:
            return key
        if len(key) < SECRET_KEY_CHARACTERS:
            self._refuse("SECRET_KEY", f"is too short: it needs at least {SECRET_KEY_CHARACTERS} characters")
        elif len(set(key)) < SECRET_KEY_DISTINCT_CHARACTERS:
            self._refuse("SECRET_KEY", "is too easy to guess: make it from random characters")
        if production and _is_demo(key):
            self._refuse("SECRET_KEY", "belongs to a demonstration: make a new one for production")
        return key

    def _public_url(self, production: bool) -> str:
        text = self._required("PUBLIC_URL", "the web's own address, such as https://market.example.org")
        if text:
            self._check_web_address("PUBLIC_URL", text, production)
        return text.rstrip("/")

    def _check_web_address(self, name: str, text: str, production: bool, what: str = "") -> None:
        subject = f"{what} " if what else ""
        address = urlsplit(text)
        if address.scheme not in {"http", "https"} or not address.hostname:
            self._refuse(name, f"{subject}is not an absolute web address")
        elif production and address.scheme != "https":
            self._refuse(name, f"{subject}must begin with https:// in production")
        elif production and _is_loopback(address):
            self._refuse(name, f"{subject}points at this machine, where only a simulator answers")

    def _carriers(self, production: bool) -> tuple[CarrierProfile, ...]:
        text = self._required("CARRIERS", "the carriers' TOML text, or the path of a file with it")
        if not text:
            return ()
        try:
            profiles = carriers_from_toml(text if "[[" in text else Path(text).read_text(encoding="utf-8"))
        except OSError as error:
            self._refuse("CARRIERS", f"names a file that cannot be read ({error.strerror})")
            return ()
        except ValueError as error:
            self._refuse("CARRIERS", str(error))
            return ()
        for profile in profiles:
            self._check_carrier(profile, production)
        return profiles

    def _check_carrier(self, profile: CarrierProfile, production: bool) -> None:
        self._check_web_address("CARRIERS", profile.base_url, production, f"base_url of {profile.code}")
        if profile.dialect not in DIALECTS:
            self._refuse("CARRIERS", f"dialect of {profile.code} is not one of {', '.join(sorted(DIALECTS))}")
        if profile.dialect == "recharge" and not profile.partner_no:
            self._refuse("CARRIERS", f"partner_no of {profile.code} is missing: its dialect needs one")
        if profile.notify_url:
            self._check_web_address("CARRIERS", profile.notify_url, production, f"notify_url of {profile.code}")
        if profile.max_in_flight_seconds < profile.timeout_seconds:
            self._refuse("CARRIERS", f"max_in_flight_seconds of {profile.code} is shorter than its timeout_seconds")
        if production and _is_demo(profile.credential):
            self._refuse("CARRIERS", f"credential of {profile.code} belongs to a demonstration")

    def _payment(self, production: bool) -> PaymentSettings | None:
        api_key = self._required("STRIPE_API_KEY", "the payment provider's secret key")
        if production and (api_key.startswith(DEMO_API_KEY) or _is_demo(api_key)):
            self._refuse("STRIPE_API_KEY", "belongs to the payment simulator: set the provider's own key")
        webhook_secret = self._required("STRIPE_WEBHOOK_SECRET", "the signing secret of the provider's webhook")
        if production and any(_is_demo(one.strip().removeprefix("whsec_")) for one in webhook_secret.split(",")):
            self._refuse("STRIPE_WEBHOOK_SECRET", "belongs to a demonstration: set the provider's own secret")
        api_base = self._text("STRIPE_API_BASE").rstrip("/")
        if api_base:
            self._check_web_address("STRIPE_API_BASE", api_base, production)
        if self.problems:  # nothing will be made of the values
            return None
        return PaymentSettings(api_key, api_base or None, webhook_secret, STRIPE_TIMEOUT_SECONDS)

    def _shards(self) -> int:
        text = self._text("SHARDS", "1")
        if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= SHARDS_MAX:
            self._refuse("SHARDS", f"is {text!r}: it is a whole number from 1 to {SHARDS_MAX}")
            return 1
        return int(text)


def _networks(text: str) -> tuple[str, ...]:
    return tuple(str(ip_network(part.strip())) for part in text.split(",") if part.strip())


def _days(text: str) -> dict[str, date]:
    """``stripe_api_key=2027-03-01, carrier_CMCC=2027-01-15``: the last day on which each is good."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if any(not name.isidentifier() for name, _, _ in pairs):
        raise ValueError(text)
    return {name: date.fromisoformat(day) for name, _, day in pairs}


def _files(text: str) -> tuple[Path, ...]:
    return tuple(Path(part.strip()).resolve(strict=True) for part in text.split(",") if part.strip())


def _positive(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,11}", text):
        raise ValueError(text)
    return int(text)


def _day_of_month(text: str) -> int:
    if not re.fullmatch(r"[1-9]|1[0-9]|2[0-8]", text):
        raise ValueError(text)
    return int(text)


def _currency(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError(text)
    return text


def _is_demo(secret: str) -> bool:
    """Whether a secret carries the mark of a demonstration, or is one that people leave in place of a secret."""
    lowered = secret.lower()
    return lowered.startswith((DEMO_MARK, "sim_", "change", "secret", "example"))


def _is_loopback(address: SplitResult) -> bool:
    host = address.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _rename_parameter(url: str, old: str, new: str) -> str:
    """PostgreSQL calls the parameter that asks for TLS `sslmode`; SQLAlchemy's asyncpg dialect calls it `ssl`."""
    base, question, query = url.partition("?")
    pairs = [(new if name == old else name, value) for name, value in parse_qsl(query, keep_blank_values=True)]
    return base + question + urlencode(pairs, safe="/:@,")
