"""The web program as a process: it stops at once with streams open, and its workers count together (G3, G15)."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from market.settings import Settings
from web.server import KILL_SECONDS

ROOT = Path(__file__).parents[2]
START_SECONDS = 30


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(settings: Settings, data_dir: Path, workers: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = a_free_port()
    arguments = [settings.database_url, settings.redis_url, str(data_dir), str(port), str(workers)]
    process = subprocess.Popen([sys.executable, "-m", "tests.web.streaming_server", *arguments], cwd=ROOT)
    try:
        _until(lambda: len(list(data_dir.glob("started-*"))) == workers, process)
        _until(lambda: _answers(f"http://127.0.0.1:{port}/health/live"), process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        assert process.poll() is None, "the server ended by itself"
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_g3_open_streams_do_not_hold_up_a_stop(settings: Settings, tmp_path: Path) -> None:
    with (
        serving(settings, tmp_path, 2) as (url, process),
        httpx.stream("GET", f"{url}/tests/stream", timeout=20, trust_env=False) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "data: open"

        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
        code = process.wait(10)

    assert rest == ["data: closing", "retry: 1000"]
    assert code == 0
    assert time.monotonic() - asked < KILL_SECONDS - 1
    assert len(list(tmp_path.glob("cleaned-up-*"))) == 2


def test_the_workers_count_together_and_wait_for_no_slow_sender(settings: Settings, tmp_path: Path) -> None:
    """G15: whichever worker is asked for the figures, it tells those of all."""
    with serving(settings, tmp_path, 2) as (url, process):
        for _ in range(20):
            httpx.get(f"{url}/nowhere", trust_env=False)
        counted = 'surplusflow_http_requests_total{method="GET",route="unrouted",status="404"} 20.0'
        _until(lambda: all(counted in _figures(url) for _ in range(5)), process)

        answer = _begun_and_never_ended(url)

    assert answer.startswith(b"HTTP/1.1 408 ")


def _figures(url: str) -> str:
    return httpx.get(f"{url}/metrics", trust_env=False).text


def _begun_and_never_ended(url: str) -> bytes:
    """The answer to a request whose body stops after its first byte."""
    host = url.removeprefix("http://")
    head = f"POST /webhooks/payments HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\n{{"
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(head.encode())
        return connection.recv(1000)
