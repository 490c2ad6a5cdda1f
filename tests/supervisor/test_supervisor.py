"""The supervisor: order, readiness, starting again, bounded stopping, and nothing that outlives it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.supervisor.running import at_work, is_gone, python, short_folder, until
from web import supervisor as supervising
from web.embedded import PostgresServer, Server, ValkeyServer, free_port
from web.supervisor import Child, Log, NotReady, Supervisor, stop_left_behind
from web.up import server_child

WELL = "import signal; print('well', flush=True); signal.pause()"
SAYS_WHEN_IT_STOPS = """
import pathlib, signal, sys
def stop(*_):
    with open(sys.argv[2], 'a') as file: file.write(sys.argv[1] + ' ')
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[2] + '.' + sys.argv[1]).touch()
signal.pause()
"""
DEAF = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
while True: signal.pause()
"""
HAS_A_HELPER = """
import pathlib, signal, subprocess, sys
helper = subprocess.Popen([sys.executable, '-c', 'import signal; signal.signal(15, signal.SIG_IGN); signal.pause()'])
pathlib.Path(sys.argv[1]).write_text(str(helper.pid))
signal.pause()
"""
SUPERVISES_AND_STAYS = """
import asyncio, os, sys
from pathlib import Path
from web.supervisor import Child, Supervisor

async def main():
    note = lambda pids: Path(sys.argv[1], 'pids').write_text(str(pids.get('well', '')))
    supervisor = Supervisor(Path(sys.argv[1]), note=note, say=print)
    argv = (sys.executable, '-c', 'import signal; signal.pause()')
    await supervisor.start(Child('well', argv, dict(os.environ), Path(sys.argv[1])))
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Room:
    """A supervisor with what it noted and said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process_ids: dict[str, int] = {}
        self.said: list[str] = []
        self.supervisor = Supervisor(folder, note=self._note, say=self.said.append)

    def _note(self, process_ids: Mapping[str, int]) -> None:
        self.process_ids = dict(process_ids)

    def child(
        self,
        name: str,
        code: str,
        *arguments: object,
        ready: Callable[[int], bool] | None = None,
        ready_seconds: float = 20,
        stop_seconds: float = 10,
    ) -> Child:
        return Child(
            name=name,
            argv=(sys.executable, "-u", "-c", code, *map(str, arguments)),
            environment=dict(os.environ),
            directory=self.folder,
            ready=ready,
            ready_seconds=ready_seconds,
            stop_seconds=stop_seconds,
        )

    def is_back(self, server: Server, before: Mapping[str, int]) -> bool:
        process_id = self.process_ids.get(server.name, before[server.name])
        return process_id != before[server.name] and server.is_ready(process_id)

    async def until(self, happened: Callable[[], bool], what: str) -> None:
        await asyncio.to_thread(until, happened, what)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    yield room
    await room.supervisor.stop()


async def test_a_program_that_is_killed_is_started_again(room: Room) -> None:
    await room.supervisor.start(room.child("well", WELL))
    first = room.process_ids["well"]

    os.kill(first, signal.SIGKILL)
    await room.until(lambda: room.process_ids.get("well", first) != first, "another process in its place")

    assert room.said == ["[well] was ended by SIGKILL; starting it again in 0.2 s."]
    await room.supervisor.stop()
    assert room.process_ids == {}


async def test_what_is_started_last_is_stopped_first(room: Room) -> None:
    order = room.folder / "order"
    for name in ("server", "engine", "web"):
        there = Path(f"{order}.{name}")
        await room.supervisor.start(
            room.child(name, SAYS_WHEN_IT_STOPS, name, order, ready=lambda _, there=there: there.exists())  # type: ignore[misc]
        )

    await room.supervisor.stop()

    assert order.read_text(encoding="utf-8").split() == ["web", "engine", "server"]


async def test_a_program_that_will_not_stop_is_killed_within_its_time(room: Room) -> None:
    there = room.folder / "there"
    await room.supervisor.start(room.child("deaf", DEAF, there, ready=lambda _: there.exists(), stop_seconds=0.2))
    process_id = room.process_ids["deaf"]

    await asyncio.wait_for(room.supervisor.stop(), 5)

    assert is_gone(process_id)
    assert room.said == ["[deaf] did not stop within 0.2 s and is killed."]


async def test_helpers_that_a_program_leaves_behind_are_ended_with_it(room: Room) -> None:
    told = room.folder / "helper"
    child = room.child("leader", HAS_A_HELPER, told, ready=lambda _: told.exists() and bool(told.read_text()))
    await room.supervisor.start(child)
    helper = int(told.read_text())

    await room.supervisor.stop()

    await room.until(lambda: is_gone(helper), "the end of the helper")


async def test_a_program_that_never_gets_ready_stops_the_start_with_its_last_words(room: Room) -> None:
    code = "print('still thinking'); import signal; signal.pause()"
    child = room.child("slow", code, ready=lambda _: False, ready_seconds=0.5)

    with pytest.raises(NotReady, match=r"(?s)slow is not ready after 0.5 seconds.*still thinking"):
        await room.supervisor.start(child)


async def test_a_program_that_keeps_ending_is_given_up_before_its_time_is_over(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "FIRST_PAUSE_SECONDS", 0.01)
    child = room.child("broken", "raise SystemExit('no such database')", ready=lambda _: False)

    with pytest.raises(NotReady, match=r"(?s)broken does not start.*no such database"):
        await room.supervisor.start(child)


async def test_a_program_that_is_not_there_is_told_in_words(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "FIRST_PAUSE_SECONDS", 0.01)
    child = replace(room.child("absent", "", ready=lambda _: False), argv=("/no/such/program",))

    with pytest.raises(NotReady, match="absent does not start"):
        await room.supervisor.start(child)


async def test_a_task_is_run_to_its_end(room: Room) -> None:
    made = room.folder / "made"

    await room.supervisor.finish(room.child("migrate", "import sys; open(sys.argv[1], 'w')", made), 20)

    assert made.exists()
    assert room.process_ids == {}


async def test_a_task_that_fails_stops_the_start_with_its_last_words(room: Room) -> None:
    with pytest.raises(NotReady, match=r"(?s)migrate ended with exit code 1.*the table is in the way"):
        await room.supervisor.finish(room.child("migrate", "raise SystemExit('the table is in the way')"), 20)


async def test_a_task_that_takes_too_long_is_ended(room: Room) -> None:
    pid_file = room.folder / "pid"
    code = "import os, signal, sys; open(sys.argv[1], 'w').write(str(os.getpid())); signal.pause()"

    with pytest.raises(NotReady, match="migrate is not done"):
        await room.supervisor.finish(room.child("migrate", code, pid_file), 1)

    assert is_gone(int(pid_file.read_text()))


async def test_output_is_kept_and_what_alarms_is_shown(room: Room) -> None:
    code = "print('all is well'); print('ERROR the book is crossed'); import signal; signal.pause()"
    await room.supervisor.start(room.child("engine", code))

    await room.until(lambda: bool(room.said), "the line that alarms")

    assert room.said == ["[engine] ERROR the book is crossed"]
    assert (room.folder / "engine.log").read_text() == "all is well\nERROR the book is crossed\n"


async def test_the_last_words_of_a_program_that_is_stopped_are_kept(room: Room) -> None:
    there = room.folder / "there"
    code = "import pathlib, signal, sys; signal.signal(15, lambda *_: sys.exit('all orders are safe'))"
    code += "; pathlib.Path(sys.argv[1]).touch(); signal.pause()"
    await room.supervisor.start(room.child("engine", code, there, ready=lambda _: there.exists()))

    await room.supervisor.stop()

    assert (room.folder / "engine.log").read_text() == "all orders are safe\n"


def test_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "LOG_BYTES", 100)
    log = Log(tmp_path / "chatty.log")

    for number in range(100):
        log.write(b"%09d\n" % number)

    log.close()
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes == {"chatty.log": 100, "chatty.log.1": 100, "chatty.log.2": 100, "chatty.log.3": 100}
    assert (tmp_path / "chatty.log").read_bytes().endswith(b"000000099\n")


async def test_servers_that_are_killed_come_back_with_their_data_at_their_address(tmp_path: Path) -> None:
    with short_folder() as folder:
        room = Room(folder)
        postgres = PostgresServer(folder / "postgres", durable=False)
        valkey = ValkeyServer(folder / "valkey", port=free_port(), password="0123456789abcdef")
        for server in (postgres, valkey):
            await room.supervisor.start(server_child(server, folder, os.environ))
        postgres.query("CREATE TABLE kept (n int)")
        before = room.process_ids

        for process_id in before.values():
            os.kill(process_id, signal.SIGKILL)

        for server in (postgres, valkey):
            await room.until(lambda server=server: room.is_back(server, before), server.name)  # type: ignore[misc]
        assert postgres.query("SELECT count(*) FROM kept") == "0"
        await room.supervisor.stop()
        assert at_work(postgres.directory, "postgres") == at_work(valkey.directory, "valkey-server") == []


def test_programs_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with python(SUPERVISES_AND_STAYS, tmp_path, log=tmp_path / "supervisor.out") as supervisor:
        until(lambda: pids.exists() and bool(pids.read_text()), "the program")
        process_id = int(pids.read_text())

        supervisor.kill()
        supervisor.wait()

        until(lambda: is_gone(process_id), "the end of the program")


def test_programs_left_behind_are_told_by_number_and_time_of_creation(tmp_path: Path) -> None:
    with python(WELL, log=tmp_path / "log") as innocent:
        created_at = psutil.Process(innocent.pid).create_time()

        assert stop_left_behind({"web": (innocent.pid, created_at - 60)}) == []
        assert innocent.poll() is None


def test_programs_left_behind_are_stopped(tmp_path: Path) -> None:
    code = "import os; os.setpgid(0, 0); print('own group', flush=True); import signal; signal.pause()"
    with python(code, log=tmp_path / "log") as left:
        until(lambda: "own group" in (tmp_path / "log").read_text(), "a process group of its own")
        created_at = psutil.Process(left.pid).create_time()

        assert stop_left_behind({"web": (left.pid, created_at), "engine-0": (2**22 + 1, 0.0)}) == ["web"]
        assert is_gone(left.pid)
