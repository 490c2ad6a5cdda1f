"""Embedded servers: found again after any kill, never two on the same files, nothing lost."""

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.supervisor.running import at_work, is_gone, python, short_folder, until
from web.account import ACL, Account, server_account
from web.datadir import DataDirectory, Occupied, UnreadableFile, write_json
from web.embedded import PostgresServer, Server, ServerTrouble, ValkeyServer, free_port, start, stop, stop_strays

START_BOTH_AND_STAY = """
import os, signal, sys
from pathlib import Path
from web.datadir import DataDirectory
from web.embedded import PostgresServer, ValkeyServer, start

directory = DataDirectory(Path(sys.argv[1]))
with directory.held():
    start(PostgresServer(directory.postgres, durable=False), directory.path / "postgres.log", dict(os.environ))
    start(ValkeyServer(directory.valkey, port=int(sys.argv[2])), directory.path / "valkey.log", dict(os.environ))
    print("both run", flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One folder for the module: making PostgreSQL's files is the slow part."""
    with short_folder() as path:
        yield path


def postgres_in(folder: Path) -> PostgresServer:
    return PostgresServer(folder / "postgres", durable=False)


def started(server: Server, folder: Path) -> subprocess.Popen[bytes]:
    return start(server, folder / f"{server.name}.log", dict(os.environ))


def test_postgresql_killed_and_started_again_has_everything_it_confirmed(folder: Path) -> None:
    server = postgres_in(folder)
    process = started(server, folder)
    server.query("CREATE TABLE confirmed (n int)")
    server.query("INSERT INTO confirmed VALUES (42)")
    process.kill()
    process.wait()

    again = started(server, folder)

    assert server.query("SELECT n FROM confirmed") == "42"
    assert at_work(server.directory, "postgres") == [again.pid]
    stop(server, again)


def test_a_kill_does_lose_what_was_confirmed_without_being_written(folder: Path) -> None:
    """Without this loss the test above would prove nothing."""
    server = postgres_in(folder)
    process = started(server, folder)
    server.query("ALTER SYSTEM SET wal_writer_delay = '10s'")
    server.query("SELECT pg_reload_conf()")
    server.query("CREATE TABLE promised (n int)")
    server.query("SET synchronous_commit = off; INSERT INTO promised VALUES (42)")
    process.kill()
    process.wait()

    again = started(server, folder)

    assert server.query("SELECT count(*) FROM promised") == "0"
    server.query("ALTER SYSTEM RESET wal_writer_delay")
    stop(server, again)


def test_a_second_start_replaces_a_server_that_was_left_behind(folder: Path) -> None:
    server = postgres_in(folder)
    orphan = started(server, folder)

    process = started(server, folder)

    assert orphan.wait(5) == 0
    assert at_work(server.directory, "postgres") == [process.pid]
    stop(server, process)


def test_a_stale_lock_file_with_the_number_of_an_innocent_process_is_no_obstacle(folder: Path) -> None:
    server = postgres_in(folder)
    stop(server, started(server, folder))
    (server.directory / "postmaster.pid").write_text(f"{os.getpid()}\n{server.directory}\n0\n5432\n", encoding="utf-8")

    process = started(server, folder)

    assert psutil.pid_exists(os.getpid())
    stop(server, process)


def test_durability_is_on_outside_tests(folder: Path) -> None:
    careless, durable = postgres_in(folder), PostgresServer(folder / "postgres")
    stop(careless, started(careless, folder))

    process = started(durable, folder)

    shown = durable.query(
        "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings"
        " WHERE name IN ('data_checksums', 'fsync', 'full_page_writes', 'synchronous_commit', 'listen_addresses')"
    )
    stop(durable, process)
    assert shown.split() == ["on"] * 4


def test_a_database_is_made_once(folder: Path) -> None:
    server = postgres_in(folder)
    process = started(server, folder)

    server.create_database("twice")
    server.create_database("twice")

    assert server.query("SELECT count(*) FROM pg_database WHERE datname = 'twice'") == "1"
    stop(server, process)


def test_files_of_another_version_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n", encoding="ascii")

    with pytest.raises(ServerTrouble, match="was made by PostgreSQL 16"):
        postgres_in(tmp_path).prepare()


def test_a_server_that_does_not_start_says_its_last_words(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ValkeyServer(folder / "no-port", port=taken.getsockname()[1])

        with pytest.raises(ServerTrouble, match="did not start"):
            started(server, folder)


def test_valkey_killed_and_started_again_is_found_at_its_address_with_its_data(folder: Path) -> None:
    server = ValkeyServer(folder / "valkey", port=free_port(), password="0123456789abcdef")
    process = started(server, folder)
    with Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        assert client.execute_command("WAITAOF", 1, 0, 5000) == [1, 0]
    process.kill()
    process.wait()

    again = started(server, folder)

    with Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert at_work(server.directory, "valkey-server") == [again.pid]
    stop(server, again)


def test_the_password_of_valkey_is_on_no_command_line(folder: Path) -> None:
    server = ValkeyServer(folder / "valkey", port=free_port(), password="unseen-by-others")

    server.prepare()

    assert not any("unseen-by-others" in str(part) for part in server.argv)
    assert stat.S_IMODE((server.directory / "valkey.conf").stat().st_mode) == 0o600


def test_servers_end_with_the_one_who_started_them_and_are_found_again(folder: Path) -> None:
    port = free_port()
    directory = DataDirectory(folder)
    with python(START_BOTH_AND_STAY, folder, port, log=folder / "holder.log") as holder:
        until(lambda: "both run" in (folder / "holder.log").read_text(encoding="utf-8"), "both servers")
        servers = [*at_work(directory.postgres, "postgres"), *at_work(directory.valkey, "valkey-server")]

        with pytest.raises(Occupied, match=f"process {holder.pid}"), directory.held():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()

    assert len(servers) == 2
    for process_id in servers:
        until(lambda process_id=process_id: is_gone(process_id), "the end of a server whose starter was killed")  # type: ignore[misc]
    with directory.held():
        server = postgres_in(folder)
        process = started(server, folder)
        assert at_work(directory.postgres, "postgres") == [process.pid]
        stop(server, process)


def test_a_shell_in_the_data_directory_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["/bin/sleep", "30"], cwd=tmp_path)

    stop_strays(tmp_path, "postgres", (signal.SIGTERM,))

    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_secrets_are_made_once_and_are_for_their_owner_alone(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)

    first = directory.secrets({"ONE": lambda: "first"})
    second = directory.secrets({"ONE": lambda: "another", "TWO": lambda: "new"})

    assert first == {"ONE": "first"}
    assert second == {"ONE": "first", "TWO": "new"}
    assert stat.S_IMODE(directory.secrets_file.stat().st_mode) == 0o600


def test_damaged_secrets_are_not_replaced_by_new_ones(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.secrets_file.write_text('{"ONE": "fir', encoding="utf-8")

    with pytest.raises(UnreadableFile, match="is damaged"):
        directory.secrets({"ONE": lambda: "another"})


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"a": 1})

    with pytest.raises(TypeError):
        write_json(tmp_path / "run.json", {"a": object()})

    assert (tmp_path / "run.json").read_text(encoding="utf-8") == '{\n  "a": 1\n}'


def test_a_closed_folder_is_opened_to_the_servers_account_alone() -> None:
    account = server_account()
    with short_folder() as folder:
        (folder / "closed" / "inside").mkdir(parents=True)
        (folder / "closed").chmod(0o700)

        account.reach(folder / "closed" / "inside")

        mode = stat.S_IMODE((folder / "closed").stat().st_mode)
        assert mode & 0o007 == 0
        if account == Account():  # an ordinary user's servers run as that user and need no door
            assert mode == 0o700
        else:
            assert ACL in os.listxattr(folder / "closed")
            account.run(["/bin/ls", folder / "closed" / "inside"], 5)
            with pytest.raises(subprocess.CalledProcessError):
                account.run(["/bin/ls", folder / "closed"], 5)
