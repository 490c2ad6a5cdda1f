"""The way to Redis or Valkey: one server, or a cluster of them, by the address alone."""

import random
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, ClusterPubSub, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisClusterException

CLUSTER_SCHEMES = {"redis+cluster": False, "rediss+cluster": True}
"""Whether each speaks TLS."""
PORT = 6379
RETRIES = 2
FIRST_PAUSE_SECONDS = 0.05
LOST = (RedisClusterException, AttributeError)
"""What a command meets when its node is lost. The second comes from the library: it closes all connections to a node
that failed, also one that another command has just been given, which then has nothing to write to."""


class Cluster(RedisCluster):
    """A cluster's client that behaves towards us as one server's does.

    Whatever it cannot reach is a `redis.exceptions.RedisError`; its subscriptions stand at any node that lives, for
    messages go to all of them; and a blocking read finds its node without asking the server where its keys are.
    """

    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        """Find out where everything is, unless that is known.

        Raises:
            RedisError: no node answers.
        """
        try:
            return await super().initialize(*args, **kwargs)
        except RedisClusterException as error:
            raise Unreachable(str(error)) from error

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Carry out one command at the node that has its key.

        Raises:
            RedisError: no node answers for it just now; it may have been carried out.
        """
        try:
            await self.initialize()
            if args[0] == "XREAD":
                kwargs.setdefault("target_nodes", self.get_node_from_key(args[-2]))
            return await super().execute_command(*args, **kwargs)
        except LOST as error:
            raise Unreachable(str(error)) from error

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:  # noqa: ARG002 - as declared
        """Several commands: as a transaction they must be of one slot, else each goes where its key is."""
        return _Pipeline(self, transaction)  # type: ignore[abstract]  # as the library does

    def pubsub(self, *args: Any, **kwargs: Any) -> ClusterPubSub:
        """A subscription at a node of those known: after a failure the next one is likely to be at another."""
        nodes = self.get_primaries()
        if nodes and not args:
            kwargs.setdefault("node", random.choice(nodes))
        return _Subscription(self, *args, **kwargs)


class _Pipeline(ClusterPipeline):
    """Several commands that fail as one server's do."""

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        try:
            return await super().execute(raise_on_error, allow_redirections)
        except LOST as error:
            raise Unreachable(str(error)) from error


class _Subscription(ClusterPubSub):
    """A cluster's subscription that finds the cluster first."""

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            await self.cluster.initialize()
            return await super().execute_command(*args, **kwargs)
        except LOST as error:
            raise Unreachable(str(error)) from error


def open_redis(url: str, **options: Any) -> Redis:
    """A client for an address: ``redis://``, ``rediss://``, ``unix://``, or ``redis+cluster://`` with several nodes.

    A cluster takes the same calls, so it passes for a `Redis`.

    Raises:
        ValueError: the address is none of these.
    """
    address = urlsplit(url)
    if address.scheme not in CLUSTER_SCHEMES:
        return Redis.from_url(url, **options)
    login, _, hosts = address.netloc.rpartition("@")
    user, _, password = login.partition(":")
    cluster = Cluster(
        startup_nodes=[_node(host) for host in hosts.split(",")],
        username=unquote(user) or None,
        password=unquote(password) or None,
        ssl=CLUSTER_SCHEMES[address.scheme],
        # The slots of a node that died are missed by their own shard alone.
        require_full_coverage=False,
        retry=Retry(ExponentialWithJitterBackoff(base=FIRST_PAUSE_SECONDS), RETRIES),
        **options,
    )
    return cast("Redis", cluster)


def _node(text: str) -> ClusterNode:
    place = urlsplit(f"//{text}")
    if not place.hostname:
        raise ValueError("A cluster's address names its nodes: redis+cluster://host:port,host:port")
    return ClusterNode(place.hostname, place.port or PORT)
