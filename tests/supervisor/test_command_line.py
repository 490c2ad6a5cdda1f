"""The command line: names that others rely on, and one clear line for what its operator can mend."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from market import settings
from web import registration, webhooks
from web.cli import surplusflow
from web.datadir import DataDirectory

COMMANDS = {
    *("up", "web", "engine", "settle", "schedule", "carrier-sim", "payment-sim", "demo-traders"),
    *(
        "migrate",
        "list-instruments",
        "seed",
        "create-officer",
        "create-partner",
        "verify",
        "report",
        "bench",
        "replay",
        "preview-rules",
        "set-carrier-charges",
        "set-fees",
        "set-fee-group",
        "move-instruments",
        "register-webhook",
        "reconcile",
        "replay-events",
        "verify-receipt",
        "receipt-key",
    ),
}
BARE = {name: value for name, value in os.environ.items() if not name.startswith(settings.PREFIX)}
PRODUCTION = {
    "SURPLUSFLOW_DATABASE_URL": "postgresql://u@127.0.0.1:1/d",
    "SURPLUSFLOW_REDIS_URL": "redis://127.0.0.1:1/0",
    "SURPLUSFLOW_SECRET_KEY": "kq7Zt0aVd3LwP9xRmB2uYh5JcNsE8fGo",
    "SURPLUSFLOW_PUBLIC_URL": "https://market.example",
    "SURPLUSFLOW_CARRIERS": '[[carrier]]\ncode="CMCC"\nname_zh="移动"\nname_en="Mobile"\n'
    'base_url="https://api.carrier.example"\ncredential="Xw83hd72KqPz"',
    "SURPLUSFLOW_STRIPE_API_KEY": "sk_live_4Hc9",
    "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_9sKd",
}


def run(*arguments: object, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "web.cli", *map(str, arguments)]
    return subprocess.run(
        command,
        env=BARE | (environ or {}),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_the_names_of_the_commands_stay() -> None:
    assert set(surplusflow.commands) == COMMANDS


def test_help_loads_no_program() -> None:
    code = "import sys, web.cli; print(sorted({'litestar', 'sqlalchemy', 'stripe', 'asyncpg'} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert loaded.stdout == "[]\n"


def test_settings_that_are_missing_are_told_line_by_line_without_a_traceback() -> None:
    done = run("settle")

    assert done.returncode == 2
    assert done.stderr.startswith("surplusflow: The settings cannot be used:\n  - SURPLUSFLOW_DATABASE_URL is missing")
    assert "Traceback" not in done.stderr


def test_a_database_that_does_not_answer_is_told_in_one_line() -> None:
    done = run("migrate", environ=PRODUCTION)

    assert done.returncode == 2
    assert done.stderr.startswith("surplusflow: PostgreSQL or Valkey does not answer")
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_told_and_nothing_is_started(taken_port: int, tmp_path: Path) -> None:
    done = run("up", "--data-dir", tmp_path, "--port", taken_port)

    assert done.returncode == 2
    assert done.stderr.startswith(f"surplusflow: Port {taken_port} cannot be used")
    assert not (tmp_path / "postgres").exists()


def test_a_second_start_on_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    with DataDirectory(tmp_path).held():
        done = run("up", "--data-dir", tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith(f"surplusflow: Surplusflow already works in {tmp_path} (process {os.getpid()}).")


def test_a_data_directory_in_which_nothing_runs_is_told(tmp_path: Path) -> None:
    done = run("verify", "--data-dir", tmp_path)

    assert done.returncode == 2
    assert "Nothing runs in" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("seed",),
        ("demo-traders",),
        ("carrier-sim", "--database-url", "postgresql://u@127.0.0.1:1/d"),
        ("payment-sim", "--database-url", "postgresql://u@127.0.0.1:1/d"),
    ],
    ids=lambda command: command[0],
)
def test_what_belongs_to_a_demonstration_refuses_production(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)

    result = CliRunner().invoke(surplusflow, command)

    assert result.exit_code == 2
    assert "needs SURPLUSFLOW_ENVIRONMENT=demo" in result.output


def test_the_address_told_to_the_payment_provider_is_one_that_the_web_answers() -> None:
    assert webhooks.payment_event.paths == {registration.PATH}


@pytest.mark.parametrize("share", ["2/2", "1", "a/b", "-1/2", "0/0"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    result = CliRunner().invoke(surplusflow, ["engine", "--shard", share])

    assert result.exit_code == 2
    assert "0/2 and 1/2 are the two of two" in result.output
