"""A cluster of three servers on this machine, put together by hand."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.faults.servers import Mortal
from web.embedded import ServerTrouble, ValkeyServer, free_port

NODES = 3
TRIES = 3
SLOTS = 16_384
READY_SECONDS = 20
SETTINGS = """
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 1000
cluster-require-full-coverage no
"""


class Node(ValkeyServer):
    """One server of a cluster."""

    def __init__(self, directory: Path) -> None:
        self.port, self.bus_port = free_port(), free_port()
        super().__init__(directory, port=self.port)

    def prepare(self) -> None:
        super().prepare()
        with (self.directory / "valkey.conf").open("a", encoding="utf-8") as file:
            file.write(f"{SETTINGS}cluster-port {self.bus_port}\n")

    def client(self) -> Redis:
        return Redis(host="127.0.0.1", port=self.port, socket_timeout=5)


class Cluster:
    """Its nodes, each of which a test may kill and start again on the same files."""

    def __init__(self, servers: Sequence[tuple[Node, Mortal]]) -> None:
        self.nodes = [node for node, _ in servers]
        self.mortals = [mortal for _, mortal in servers]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def join(self) -> None:
        """Share the slots out, then introduce the nodes to one another."""
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                first, last = SLOTS * number // NODES, SLOTS * (number + 1) // NODES - 1
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                if number:
                    before = self.nodes[number - 1]
                    client.execute_command("CLUSTER MEET", "127.0.0.1", before.port, before.bus_port)
        self.wait()

    def wait(self) -> None:
        """Until every node knows all the others and where each slot is."""
        deadline = time.monotonic() + READY_SECONDS
        while not all(map(_is_whole, self.nodes)):
            assert time.monotonic() < deadline, "the cluster does not come together"
            time.sleep(0.1)

    def number_of(self, slot: int) -> int:
        """Which node has a slot."""
        return next(number for number in range(NODES) if slot < SLOTS * (number + 1) // NODES)

    def move_slot(self, slot: int, source: int, target: int) -> None:
        """Give one slot with its keys from a node to another, while both serve."""
        with self.nodes[source].client() as giver, self.nodes[target].client() as taker:
            giver_id, taker_id = (client.execute_command("CLUSTER MYID").decode() for client in (giver, taker))
            taker.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", giver_id)
            giver.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", taker_id)
            while keys := giver.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                port = self.nodes[target].port
                giver.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
            for client in (taker, giver):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", taker_id)


def _is_whole(node: Node) -> bool:
    try:
        with node.client() as client:
            info = client.execute_command("CLUSTER INFO")
    except (RedisError, OSError):
        return False
    told = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
    return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == NODES and _slots(told) == SLOTS


def _slots(told: dict[str, str]) -> int:
    return int(told["cluster_slots_ok"])


@contextmanager
def running_cluster(directory: Path) -> Iterator[Cluster]:
    """Three servers and a cluster of them, ended with the block."""
    directory.mkdir(mode=0o755)
    with ExitStack() as stack:
        cluster = Cluster([_started(stack, directory, number) for number in range(NODES)])
        cluster.join()
        yield cluster


def _started(stack: ExitStack, directory: Path, number: int) -> tuple[Node, Mortal]:
    """A node on ports of its own; somebody else may be faster with a port that was free a moment ago."""
    for left in reversed(range(TRIES)):
        node = Node(directory / f"node-{number}-{left}")
        mortal = Mortal(node, directory / f"{node.directory.name}.log")
        try:
            mortal.start()
        except ServerTrouble:
            if not left:
                raise
        else:
            stack.callback(mortal.stop)
            return node, mortal
    raise AssertionError
