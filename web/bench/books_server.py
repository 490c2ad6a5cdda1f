"""A carrier and a provider that only show their books: ready lines over plain HTTP, so that reading is measured."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

MARK = "bench"
DAY = datetime(2026, 11, 1, tzinfo=UTC)
DAY_SECONDS = 86_400
QUANTITY_MB, PAID_MINOR, FEE_MINOR = 100, 500, 30
TRADES_A_PAYMENT = 10
PAGE = 100
CARRIER_LIES: dict[int, tuple[str, int, str]] = {
    10: ("other-name-10", QUANTITY_MB, "MB"),
    20: (f"sf-{MARK}-deliver-20", QUANTITY_MB + 1, "MB"),
    31: (f"sf-{MARK}-deliver-30", QUANTITY_MB, "MB"),
    40: (f"sf-{MARK}-deliver-4000000000", QUANTITY_MB, "MB"),
    70: (f"sf-{MARK}-deliver-70", QUANTITY_MB, "KB"),
}
"""By trade: the name, amount and unit of a line that is not as our books have it."""
PROVIDER_LIES: dict[int, tuple[str, int]] = {5: (f"sf-{MARK}-top_up-5", PAID_MINOR + 1), 6: ("", PAID_MINOR)}
"""By payment: the name and amount of such a line."""


def moment(number: int, count: int) -> datetime:
    """When the n-th of them happened, counted from 1: spread over the day."""
    return DAY + timedelta(microseconds=(number - 1) * (DAY_SECONDS * 1_000_000 // count))


def _first(at: datetime, count: int) -> int:
    """The first number that happened at this time or after it."""
    step = DAY_SECONDS * 1_000_000 // count
    past = (at - DAY) // timedelta(microseconds=1)
    return min(max(-(-past // step), 0), count) + 1


def _actions(query: dict[str, str], trades: int) -> tuple[bytes, str]:
    first = _first(datetime.fromisoformat(query["requestedDate.gte"]), trades)
    last = _first(datetime.fromisoformat(query["requestedDate.lt"]), trades)
    start = first + int(query["offset"])
    lines = [_action(number, trades) for number in range(start, min(start + int(query["limit"]), last))]
    return f"[{','.join(lines)}]".encode(), f"X-Total-Count: {last - first}\r\n"


def _action(number: int, trades: int) -> str:
    name, amount, unit = CARRIER_LIES.get(number, (f"sf-{MARK}-deliver-{number}", QUANTITY_MB, "MB"))
    at = moment(number, trades).isoformat().replace("+00:00", "Z")
    return (
        f'{{"id":"{number:032x}","href":"/balanceAction/{number:032x}","actionType":"adjustBalance",'
        f'"amount":{{"amount":{amount},"units":"{unit}"}},"requestedDate":"{at}","externalIdentifier":"{name}"}}'
    )


def _transactions(query: dict[str, str], trades: int) -> tuple[bytes, str]:
    count = trades // TRADES_A_PAYMENT
    first = _first(datetime.fromtimestamp(int(query["created[gte]"]), UTC), count)
    last = _first(datetime.fromtimestamp(int(query["created[lt]"]), UTC), count)
    if "starting_after" in query:
        last = int(query["starting_after"].removeprefix("txn_"))
    numbers = range(last - 1, max(last - 1 - PAGE, first - 1), -1)
    more = "true" if numbers and numbers[-1] > first else "false"
    lines = ",".join(_transaction(number, count) for number in numbers)
    return f'{{"object":"list","has_more":{more},"url":"/v1/balance_transactions","data":[{lines}]}}'.encode(), ""


def _transaction(number: int, count: int) -> str:
    name, amount = PROVIDER_LIES.get(number, (f"sf-{MARK}-top_up-{number}", PAID_MINOR))
    created = int(moment(number, count).timestamp())
    return (
        f'{{"id":"txn_{number}","object":"balance_transaction","type":"charge","amount":{amount},"fee":{FEE_MINOR},'
        f'"net":{amount - FEE_MINOR},"currency":"cny","created":{created},"status":"available",'
        f'"source":{{"id":"ch_{number}","object":"charge","amount":{amount},"captured":true,"paid":true,'
        f'"payment_intent":"pi_{number if name else "unknown"}","metadata":{{"surplusflow_reference":"{name}"}}}}}}'
    )


async def _serve(trades: int) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                address = urlsplit(head.split(b" ", 2)[1].decode())
                query = {name: values[-1] for name, values in parse_qs(address.query).items()}
                show: Callable[..., tuple[bytes, str]] = _actions if "balanceAction" in address.path else _transactions
                body, header = show(query, trades)
                head_of_answer = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{header}"
                writer.write(f"{head_of_answer}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the one who started it reads the port
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
