"""`surplusflow up`: the whole market on this machine, made of the very programs that production runs."""

import asyncio
import contextlib
import http.client
import io
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import click
import psutil

from market.settings import Settings
from web import registration
from web.datadir import DataDirectory, read_json, write_json
from web.embedded import PostgresServer, Server, ValkeyServer, free_port
from web.supervisor import SERVER_ALARM, Child, Supervisor, stop_left_behind
from web.trouble import Trouble

SETTING = "SURPLUSFLOW_"
DATABASES = ("surplusflow", "carrier_sim", "payment_sim")
SERVERS = ("postgres", "valkey")
OPTIONS = ("DATA_DIR", "SHARDS")
"""Settings that `up` takes as options."""
CARRIERS = (
    ("CMCC", "中国移动", "China Mobile"),
    ("CUCC", "中国联通", "China Unicom"),
    ("CTCC", "中国电信", "China Telecom"),
)
MIGRATE_SECONDS = 120
SEED_SECONDS = 300
CHECK_SECONDS = 2
HIGHEST_PORT = 65_535


class PortTaken(Trouble):
    """Another program listens on the port that the web was to have."""


def up(data_dir: Path, *, port: int, shards: int, demo: bool) -> None:
    """Start everything and stay until told to stop.

    A server whose address the environment gives is used where it is; only the others are started here.

    Raises:
        Trouble: saying what is in the way: the data directory or the port taken, or a program that does not start.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Chinese characters is no reason to fail
    directory = DataDirectory(data_dir)
    with directory.held():
        left = stop_left_behind(_left_behind(directory))
        if left:
            _say(f"Stopped what an earlier run had left behind: {', '.join(left)}.")
        _refuse_taken(os.environ.get(f"{SETTING}BIND_HOST", "127.0.0.1"), port)
        directory.clear()
        market = _Market(directory, _ports(port), shards=shards, demo=demo, given=_given(os.environ))
        asyncio.run(_run(market))


async def _run(market: "_Market") -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    supervisor = Supervisor(market.directory.logs, note=market.note, say=_say)
    starting = asyncio.create_task(market.start(supervisor))
    stopping = asyncio.create_task(told_to_stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            _say(market.welcome())
            await stopping
    finally:
        _say("正在停止 / Stopping …")
        for task in (starting, stopping):
            task.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await supervisor.stop()
        market.directory.run_file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Ports:
    web: int
    carriers: int
    payment: int
    valkey: int


class _Market:
    """Which programs there are and what they are told. Started first to last, they are stopped last to first."""

    def __init__(
        self, directory: DataDirectory, ports: Ports, *, shards: int, demo: bool, given: dict[str, str]
    ) -> None:
        self.directory = directory
        self._ports = ports
        self._shards = shards
        self._demo = demo
        self._secrets = directory.secrets(SECRETS)
        self._postgres = None if "DATABASE_URL" in given else PostgresServer(directory.postgres)
        self._valkey = (
            None
            if "REDIS_URL" in given
            else ValkeyServer(directory.valkey, port=ports.valkey, password=self._secrets["VALKEY_PASSWORD"])
        )
        self._simulates_carriers = "CARRIERS" not in given
        self._simulates_payment = "STRIPE_API_KEY" not in given
        self._settings = self._own_settings() | given

    def _own_settings(self) -> dict[str, str]:
        settings = {
            "ENVIRONMENT": "demo",
            "DATA_DIR": str(self.directory.path),
            "PUBLIC_URL": f"http://127.0.0.1:{self._ports.web}",
            "SECRET_KEY": self._secrets["SECRET_KEY"],
            "SHARDS": str(self._shards),
        }
        if self._postgres is not None:
            settings["DATABASE_URL"] = self._postgres.url("surplusflow")
            settings["VOLUMES"] = str(self.directory.path)
        if self._valkey is not None:
            settings["REDIS_URL"] = self._valkey.url
        if self._simulates_carriers:
            settings["CARRIERS"] = _carriers_toml(self._ports.carriers, self._secrets)
        if self._simulates_payment:
            settings["STRIPE_API_KEY"] = self._secrets["STRIPE_API_KEY"]
            settings["STRIPE_API_BASE"] = f"http://127.0.0.1:{self._ports.payment}"
            settings["STRIPE_WEBHOOK_SECRET"] = registration.UNREGISTERED
        return settings

    async def start(self, supervisor: Supervisor) -> None:
        """Start what waits for nobody side by side: most of a start is loading programs, on however many cores."""
        servers = [server for server in (self._postgres, self._valkey) if server is not None]
        children = [server_child(server, self.directory.path, self._environment()) for server in servers]
        await _together(*map(supervisor.start, children))
        await self._make_databases()
        migration = supervisor.finish(self._program("migrate"), MIGRATE_SECONDS)
        await _together(self._start_simulators(supervisor), migration)
        write_json(self.directory.environment_file, self._named_settings())

        seeding = supervisor.finish(self._program("seed"), SEED_SECONDS)
        if self.directory.logins_file.exists():  # only a new month's instruments may be missing
            await _together(seeding, self._start_programs(supervisor))
        else:
            await seeding
            await self._start_programs(supervisor)
        if self._demo:
            await supervisor.start(self._program("demo-traders"))

    async def _start_programs(self, supervisor: Supervisor) -> None:
        engines = [
            self._program("engine", "--shard", f"{shard}/{self._shards}", name=f"engine-{shard}")
            for shard in range(self._shards)
        ]
        web = self._program("web", "--port", str(self._ports.web), ready=self._web_is_ready)
        programs = [self._program("schedule"), self._program("settle"), *engines, web]
        await _together(*map(supervisor.start, programs))

    def note(self, process_ids: Mapping[str, int]) -> None:
        """Write down what runs, for tools and for the start that follows a kill."""
        try:
            self._write_down(process_ids)
        except OSError as error:
            _say(f"{self.directory.run_file} could not be written: {error.strerror}. Everything goes on without it.")

    def _write_down(self, process_ids: Mapping[str, int]) -> None:
        created = {name: _created_at(process_id) for name, process_id in process_ids.items()}
        run = {"pid": os.getpid(), "pids": dict(process_ids), "created": created, "urls": self.urls()}
        write_json(self.directory.run_file, run)

    def urls(self) -> dict[str, str]:
        urls = {"web": self._settings["PUBLIC_URL"]}
        if self._simulates_carriers:
            urls["carrier_phones"] = f"http://127.0.0.1:{self._ports.carriers}/"
        if self._simulates_payment:
            urls["payment_pages"] = f"http://127.0.0.1:{self._ports.payment}/"
        return urls

    def welcome(self) -> str:
        """What a person wants to know once everything runs."""
        names = {
            "web": "网站 Market",
            "carrier_phones": "模拟手机（短信、余量）Simulated phones: messages, data left",
            "payment_pages": "模拟支付平台 Simulated payment provider",
        }
        lines = ["", "流市已启动 · Surplusflow is running", ""]
        lines += [f"  {url:<28} {names[key]}" for key, url in self.urls().items()]
        logins = self.directory.logins_file
        if self._demo and logins.exists():
            lines += ["", "演示账号 · Demo logins", ""]
            lines += [f"  {line}".rstrip() for line in logins.read_text(encoding="utf-8").splitlines()]
        lines += ["", f"日志 · Logs: {self.directory.logs}", "按 Ctrl-C 停止 · Ctrl-C stops everything", ""]
        return "\n".join(lines)

    async def _make_databases(self) -> None:
        if self._postgres is not None:
            for name in DATABASES:
                await asyncio.to_thread(self._postgres.create_database, name)
        elif self._simulates_carriers or self._simulates_payment:
            await _create_databases(self._settings["DATABASE_URL"], DATABASES[1:])

    async def _start_simulators(self, supervisor: Supervisor) -> None:
        simulators = []
        if self._simulates_carriers:
            simulators.append(self._simulator("carrier-sim", "carrier_sim", self._ports.carriers))
        if self._simulates_payment:
            simulators.append(self._simulator("payment-sim", "payment_sim", self._ports.payment))
        await _together(*map(supervisor.start, simulators))
        if self._simulates_payment:
            self._settings["STRIPE_WEBHOOK_SECRET"] = await self._webhook_secret()

    async def _webhook_secret(self) -> str:
        """The secret that the simulated provider signs with: it tells it once, when the address is registered."""
        public_url = self._settings["PUBLIC_URL"]
        known = read_json(self.directory.webhook_file)
        if known.get("public_url") != public_url:
            payment = Settings.from_environment(self._named_settings()).payment
            known = {"public_url": public_url, "secret": await registration.ask(payment, public_url)}
            write_json(self.directory.webhook_file, known)
        return str(known["secret"])

    def _simulator(self, command: str, database: str, port: int) -> Child:
        url = _sibling(self._settings["DATABASE_URL"], database)
        return self._program(
            command, "--database-url", url, "--port", str(port), ready=lambda _: _answers("127.0.0.1", port, "/health")
        )

    def _program(self, *command: str, name: str = "", ready: Callable[[int], bool] | None = None) -> Child:
        return Child(
            name=name or command[0],
            argv=(sys.executable, "-P", "-m", "web.cli", *command),
            environment=self._environment(),
            directory=self.directory.path,
            ready=ready,
        )

    def _web_is_ready(self, _: int) -> bool:
        host = self._settings.get("BIND_HOST", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        return _answers(host, self._ports.web, "/health/ready")

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(SETTING)}
        private = {"TMPDIR": str(self.directory.temporary), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
        return ours | private | self._named_settings()

    def _named_settings(self) -> dict[str, str]:
        return {SETTING + name: value for name, value in self._settings.items()}


def server_child(server: Server, directory: Path, environment: Mapping[str, str]) -> Child:
    """An embedded server as a program to keep: always the same files, always the same address."""
    return Child(
        name=server.name,
        argv=server.argv,
        environment=environment,
        directory=directory,
        owner=server.account.ids,
        prepare=server.prepare,
        ready=server.is_ready,
        stop_signal=server.stop_signal,
        stop_seconds=20,
        alarm=SERVER_ALARM,
    )


SECRETS: dict[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: f"demo_{secrets.token_urlsafe(48)}",
    "VALKEY_PASSWORD": lambda: secrets.token_hex(24),
    "STRIPE_API_KEY": lambda: f"sk_test_sim_{secrets.token_hex(16)}",
    **{code: lambda: f"demo_{secrets.token_urlsafe(32)}" for code, _, _ in CARRIERS},
}


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """Our settings in the environment, without the prefix; empty ones count as not given."""
    names = {name.removeprefix(SETTING): value for name, value in environ.items() if name.startswith(SETTING)}
    return {name: value for name, value in names.items() if value.strip() and name not in OPTIONS}


def _ports(web: int) -> Ports:
    """The simulators sit beside the web where they can, so that their addresses stay the same from run to run."""
    carriers, payment = (free_port(port if port <= HIGHEST_PORT else 0) for port in (web + 1, web + 2))
    return Ports(web=web, carriers=carriers, payment=payment, valkey=free_port())


async def _together(*tasks: Coroutine[Any, Any, None]) -> None:
    """Do them at the same time. When one fails the others are ended, and its failure is the one that is told."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _say(words: str) -> None:
    """Tell the operator. A terminal that is closed must not keep us from stopping in order."""
    with contextlib.suppress(OSError):
        click.echo(words)


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            msg = f"Port {port} cannot be used ({error.strerror}). Give another one, such as --port {port + 100}."
            raise PortTaken(msg) from error


def _left_behind(directory: DataDirectory) -> dict[str, tuple[int, float]]:
    """The programs of a run that was killed. The servers are not among them: they look after themselves."""
    run: dict[str, Any] = read_json(directory.run_file)
    created = run.get("created", {})
    return {name: (pid, created[name]) for name, pid in run.get("pids", {}).items() if name not in SERVERS}


def _created_at(process_id: int) -> float:
    try:
        return psutil.Process(process_id).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _carriers_toml(port: int, credentials: Mapping[str, str]) -> str:
    tables = []
    for code, name_zh, name_en in CARRIERS:
        fields = {
            "code": code,
            "name_zh": name_zh,
            "name_en": name_en,
            "base_url": f"http://127.0.0.1:{port}/{code.lower()}",
            "credential": credentials[code],
            "phone_bill": True,
        }
        lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
        tables.append("\n".join(["[[carrier]]", *lines]))
    return "\n\n".join(tables)


async def _create_databases(database_url: str, names: tuple[str, ...]) -> None:
    """On a server of somebody else's, which may not let us."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", "", 1))
    try:
        for name in names:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}"')
    except asyncpg.InsufficientPrivilegeError as error:
        msg = f"The simulators need databases of their own ({', '.join(names)}): create them, for we may not."
        raise Trouble(msg) from error
    finally:
        await connection.close()


def _sibling(database_url: str, database: str) -> str:
    """The address of another database of the same server."""
    return urlunsplit(urlsplit(database_url)._replace(path=f"/{database}"))


def _answers(host: str, port: int, path: str) -> bool:
    """Whether the program that listens there says that it is well."""
    connection = http.client.HTTPConnection(host, port, timeout=CHECK_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
