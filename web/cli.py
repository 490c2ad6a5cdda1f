"""The command line: one command for each program, each loading its program only when it runs."""

import asyncio
import getpass
import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from socket import gaierror
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from market.memory import settle_memory
from web.trouble import Trouble

if TYPE_CHECKING:  # the settings load libraries that `--help` can do without
    from market.settings import Settings

REPORT_FORMATS = ("csv", "xlsx", "pdf", "json", "camt053")
MEASURES = ("matching", "engine", "growth", "feed", "http", "pages", "settlement", "report", "month-end")
OfficerRole = Literal["compliance", "operations"]

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Work with the `surplusflow up` that runs in this data directory.",
)
DAY = click.DateTime(formats=["%Y-%m-%d"])


def main() -> None:
    """Run a command. What its operator can mend ends with one clear line and exit 2, never with a traceback."""
    try:
        surplusflow.main(prog_name="surplusflow")
    except Exception as error:
        if (words := _words_for_the_operator(error)) is None:
            raise
        click.echo(f"surplusflow: {words}", err=True)
        sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="surplusflow", prog_name="surplusflow")
def surplusflow() -> None:
    """Surplusflow (流市): the open, self-hosted market for surplus mobile data."""


@surplusflow.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="SURPLUSFLOW_DATA_DIR",
    default=Path(".data"),
    show_default=True,
    help="Where everything is kept.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="The web's port.")
@click.option("--shards", type=click.IntRange(1, 64), default=1, show_default=True, help="How many engines.")
@click.option("--no-demo", is_flag=True, help="Without members that trade by themselves.")
def up(data_dir: Path, port: int, shards: int, no_demo: bool) -> None:
    """Start everything on this machine; Ctrl-C stops all of it."""
    from web.up import up as start

    start(data_dir, port=port, shards=shards, demo=not no_demo)


@surplusflow.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
def web(port: int, workers: int) -> None:
    """Serve the pages, the REST API and the event streams."""
    settings = _settings()
    from web.server import serve

    serve(settings, port, workers)


@surplusflow.command()
@click.option("--shard", "share", required=True, metavar="I/N", help="Which of how many, counted from 0: 0/1.")
def engine(share: str) -> None:
    """Match and book the orders of one shard of the instruments."""
    shard, shards = _share(share)
    settings = _settings()
    from market.engine.program import main as serve

    serve(settings, shard, shards)


@surplusflow.command()
def settle() -> None:
    """Carry out settlement instructions at the carriers and the payment provider."""
    settings = _settings()
    from market.settling import main as serve

    serve(settings)


@surplusflow.command()
def schedule() -> None:
    """Do what the clock asks for: openings, expiries, reconciliation, reports."""
    settings = _settings()
    from market.schedule import main as serve
    from web.notice_words import notice_words

    serve(settings, notice_words)


@surplusflow.command("carrier-sim")
@click.option("--database-url", envvar="SURPLUSFLOW_CARRIER_SIM_DATABASE_URL", required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8001, show_default=True)
def carrier_sim(database_url: str, port: int) -> None:
    """Simulate the carriers of SURPLUSFLOW_CARRIERS, for demonstrations and tests."""
    settings = _demo_settings()
    from settlement.simulators.carrier.program import serve

    credentials = {profile.code: profile.credential for profile in settings.carriers}
    settle_memory()
    serve(database_url, port, credentials, host=settings.bind_host)


@surplusflow.command("payment-sim")
@click.option("--database-url", envvar="SURPLUSFLOW_PAYMENT_SIM_DATABASE_URL", required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8002, show_default=True)
def payment_sim(database_url: str, port: int) -> None:
    """Simulate the payment provider, for demonstrations and tests."""
    settings = _demo_settings()
    from settlement.simulators.payment.serve import serve

    settle_memory()
    serve(database_url, port, settings.payment.api_key, host=settings.bind_host)


@surplusflow.command("demo-traders")
@data_dir_option
def demo_traders(data_dir: Path | None) -> None:
    """Trade as the demonstration's members do, over the public API."""
    settings = _demo_settings(data_dir)
    from market.demo.traders import main as trade

    trade(settings, settings.public_url)


@surplusflow.command()
@data_dir_option
def migrate(data_dir: Path | None) -> None:
    """Bring the database to this version's schema."""
    settings = _settings(data_dir)
    from market.database import migrate as bring_up_to_date

    bring_up_to_date(settings.database_url)


@surplusflow.command("list-instruments")
@click.argument("file", type=click.File(encoding="utf-8"))
@data_dir_option
def list_instruments(file: TextIO, data_dir: Path | None) -> None:
    """Found the house, and list the instruments and rule profiles of the TOML FILE (docs/operating.md)."""
    from market.operating import list_programme

    click.echo(list_programme(_settings(data_dir), file.read()))


@surplusflow.command("preview-rules")
@click.argument("file", type=click.File(encoding="utf-8"))
@data_dir_option
def preview_rules(file: TextIO, data_dir: Path | None) -> None:
    """Say how many open orders the rule profiles of the TOML FILE would end, and why; nothing is changed."""
    from market.enacting import preview_programme

    click.echo(preview_programme(_settings(data_dir), file.read()))


@surplusflow.command("set-fees")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only say what would be set.")
@data_dir_option
def set_fees(file: TextIO, dry_run: bool, data_dir: Path | None) -> None:
    """Put the sellers' fees of the TOML FILE into the schedule (docs/operating.md); open orders keep theirs."""
    from market.fee_setting import set_fees as set_them

    click.echo(set_them(_settings(data_dir), file.read(), dry_run=dry_run))


@surplusflow.command("set-fee-group")
@click.option("--phone", "phones", multiple=True, help="The number of a line, for its owner; may be repeated.")
@click.option("--partner", "partners", multiple=True, type=int, help="A partner, as created; may be repeated.")
@click.option("--group", help="The group's name, as in the file of fees. Without it they are in none any more.")
@data_dir_option
def set_fee_group(phones: tuple[str, ...], partners: tuple[int, ...], group: str | None, data_dir: Path | None) -> None:
    """Put parties into a group of the fee schedule; open orders keep their fee."""
    from market.fee_groups import set_group

    count = asyncio.run(set_group(_settings(data_dir), group, phones, partners))
    click.echo(f"{count} {'party' if count == 1 else 'parties'}: {group or 'in no group'}")


@surplusflow.command("set-carrier-charges")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only say what would be set.")
@data_dir_option
def set_carrier_charges(file: TextIO, dry_run: bool, data_dir: Path | None) -> None:
    """Put the carriers' charges of the TOML FILE in force (docs/operating.md); open orders keep theirs."""
    from market.carrier_charge_setting import set_charges

    click.echo(set_charges(_settings(data_dir), file.read(), dry_run=dry_run))


@surplusflow.command("move-instruments")
@click.option("--unit", required=True, help="A carrier's code, such as CMCC, or COIN.")
@click.option("--to", "shard", type=click.IntRange(0, 1023), required=True, help="The engine, counted from 0.")
@data_dir_option
def move_instruments(unit: str, shard: int, data_dir: Path | None) -> None:
    """Let another engine serve all instruments of a unit, while they trade."""
    settings = _settings(data_dir)
    from market.moving import main as move

    click.echo(move(settings, unit, shard))


@surplusflow.command()
@data_dir_option
def seed(data_dir: Path | None) -> None:
    """Fill an empty market with demonstration members."""
    settings = _demo_settings(data_dir)
    from market.demo.seed import main as fill

    fill(settings)


@surplusflow.command("create-officer")
@click.argument("login")
@click.option("--role", type=click.Choice(("compliance", "operations")), default="compliance", show_default=True)
@click.option("--carrier", help="Show the officer this carrier's matters alone.")
@click.option("--ask", is_flag=True, help="Ask for the password, or read it from a pipe, instead of making one.")
@data_dir_option
def create_officer(login: str, role: OfficerRole, carrier: str | None, ask: bool, data_dir: Path | None) -> None:
    """Let an officer sign in as LOGIN; print the password, which is told this once."""
    settings = _settings(data_dir)
    password = _asked_password() if ask else None
    from market.accounts_admin import create_officer as create

    officer = asyncio.run(create(settings, login, password, role, carrier))
    click.echo(f"{officer.login} can sign in." if ask else f"{officer.login} can sign in with {officer.password}")


@surplusflow.command("create-partner")
@click.argument("name")
@click.option("--phone", "phones", multiple=True, help="A line that receives what the partner buys; may be repeated.")
@data_dir_option
def create_partner(name: str, phones: tuple[str, ...], data_dir: Path | None) -> None:
    """Open an account for a company called NAME; print its API key, which is told this once."""
    settings = _settings(data_dir)
    from market.accounts_admin import create_partner as create

    partner = asyncio.run(create(settings, name, phones))
    click.echo(f"Partner {partner.party_id} has the API key {partner.key}")


@surplusflow.command("register-webhook")
def register_webhook() -> None:
    """Tell the payment provider where its events go; print SURPLUSFLOW_STRIPE_WEBHOOK_SECRET, which it tells once."""
    from market.settings import Settings
    from web.registration import UNREGISTERED, register

    settings = Settings.from_environment({"SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": UNREGISTERED, **os.environ})
    click.echo(register(settings.payment, settings.public_url))


@surplusflow.command()
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(data_dir: Path | None, as_json: bool) -> None:
    """Check every invariant against the live database; exit 1 when one fails."""
    settings = _settings(data_dir)
    from market.verify import main as check

    sys.exit(check(settings, as_json))


@surplusflow.command("verify-receipt")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", help="The market's public key, or a file with its keys as the market publishes them.")
def verify_receipt(file: Path, key: str | None) -> None:
    """Check the receipt FILE of a trade by itself, without asking anybody; exit 1 when it is not sound."""
    from settlement.receipts.verifying import NotAKey
    from settlement.receipts.verifying import main as check

    try:
        verdict = check(file, key)
    except NotAKey as error:
        raise click.BadParameter(str(error), param_hint="--key") from error
    click.echo("\n".join(verdict.lines))
    sys.exit(0 if verdict.is_sound else 1)


@surplusflow.command("receipt-key")
@data_dir_option
def receipt_key(data_dir: Path | None) -> None:
    """Print the public key that receipts are signed with, and its id; it holds nothing secret."""
    settings = _settings(data_dir)
    from settlement.receipts.document import Signer

    signer = Signer(settings.secret_key)
    click.echo(f"{signer.key_id} {signer.public_key.hex()}")


@surplusflow.command()
@data_dir_option
def replay(data_dir: Path | None) -> None:
    """Make trades and books again from the journal alone, and compare; exit 1 when anything differs."""
    settings = _settings(data_dir)
    from market.replay import main as make_again

    sys.exit(make_again(settings))


@surplusflow.command("replay-events")
@click.option("--since", type=DAY, help="Those received since this day, such as 2026-11-01; without it, all.")
@click.option("--parked", is_flag=True, help="Only those that wait for a person.")
@data_dir_option
def replay_events(since: datetime | None, parked: bool, data_dir: Path | None) -> None:
    """Handle the payment provider's stored events again; what was taken in is not taken in twice."""
    settings = _settings(data_dir)
    from market.provider_events import main as handle_again

    click.echo(handle_again(settings, since, parked))


@surplusflow.command()
@click.option("--day", type=DAY, help="The day, such as 2026-11-01; without it, today so far.")
@click.option("--carrier", help="This carrier's journal alone; without it, everybody's books.")
@data_dir_option
def reconcile(day: datetime | None, carrier: str | None, data_dir: Path | None) -> None:
    """Compare a day of our books with the carriers' and the provider's; exit 1 when something differs."""
    settings = _settings(data_dir)
    from market.reconciliation import main as compare

    words, differs = compare(settings, day.date() if day else None, carrier)
    click.echo(words)
    sys.exit(int(differs))


@surplusflow.group()
def report() -> None:
    """Make a report."""


@report.command("settlement")
@click.option("--carrier", required=True, help="The carrier's code, such as CMCC, or all.")
@click.option("--from", "first_day", type=DAY, required=True, help="The first day, such as 2026-11-01.")
@click.option("--to", "last_day", type=DAY, required=True, help="The last day, included.")
@click.option("--format", "form", type=click.Choice(REPORT_FORMATS), required=True)
@click.option("--output", type=click.Path(path_type=Path), help="A file; without it, standard output.")
@data_dir_option
def report_settlement(
    *, carrier: str, first_day: datetime, last_day: datetime, form: str, output: Path | None, data_dir: Path | None
) -> None:
    """Report what was settled with a carrier, agreed with the ledger and the provider."""
    settings = _settings(data_dir)
    from market.reports import main as write

    write(settings, carrier, first_day.date(), last_day.date(), form, output or sys.stdout.buffer)


@surplusflow.command()
@click.argument("name", type=click.Choice(MEASURES))
@click.option("--trades", type=click.IntRange(min=1000), help="How many `report` reconciles; a million by itself.")
@click.option("--asks", type=click.IntRange(3, 1_000_000), help="How many open asks `month-end` begins with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(name: str, trades: int | None, asks: int | None, as_json: bool) -> None:
    """Measure this machine."""
    from web.bench import run

    outcome = run(name, trades, asks)
    click.echo(json.dumps(outcome, ensure_ascii=False) if as_json else _table(outcome))


def _settings(data_dir: Path | None = None) -> "Settings":
    """What our environment says, or that of the `up` that runs in a data directory."""
    from market.settings import Settings

    return Settings.from_environment(os.environ if data_dir is None else _environment_of(data_dir))


def _demo_settings(data_dir: Path | None = None) -> "Settings":
    """The same, for what has no place beside real money, not even by mistake."""
    settings = _settings(data_dir)
    if settings.is_production:
        raise Trouble("This belongs to demonstrations: it needs SURPLUSFLOW_ENVIRONMENT=demo.")
    return settings


def _environment_of(data_dir: Path) -> Mapping[str, str]:
    from web.datadir import DataDirectory

    directory = DataDirectory(data_dir)
    if not directory.is_held():
        msg = f"Nothing runs in {directory.path}: start it with `surplusflow up --data-dir {data_dir}` first."
        raise Trouble(msg)
    return directory.environment()


def _share(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise click.BadParameter("say which of how many, counted from 0: 0/2 and 1/2 are the two of two.")
    return int(match[1]), int(match[2])


def _asked_password() -> str:
    """Asked for twice at a terminal, read once from a pipe; never an argument, which others could see."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise Trouble("The two passwords differ.")
    return password


def _table(outcome: Mapping[str, Any]) -> str:
    figures = {**outcome.get("figures", {}), **outcome.get("ratios", {})}
    width = max(map(len, figures), default=0)
    lines = [f"  {name:<{width}}  {value:>16,}" for name, value in figures.items()]
    return "\n".join([f"{outcome['name']} on {outcome['machine']}", *lines])


def _words_for_the_operator(error: Exception) -> str | None:
    from market.refusals import Refusal
    from market.settings import BadSettings

    if isinstance(error, BadSettings | Refusal):
        return str(error)
    if isinstance(error, _unreachable()):
        return f"PostgreSQL or Valkey does not answer where the settings point: {error}"
    return None


def _unreachable() -> tuple[type[Exception], ...]:
    """A server that is not there or does not know us, under the names that three libraries give it."""
    from asyncpg.exceptions import InvalidAuthorizationSpecificationError, InvalidCatalogNameError
    from redis.exceptions import ConnectionError as ValkeyAway

    unknown_to_it = (InvalidAuthorizationSpecificationError, InvalidCatalogNameError)
    return ConnectionError, gaierror, ValkeyAway, *unknown_to_it


if __name__ == "__main__":
    main()
