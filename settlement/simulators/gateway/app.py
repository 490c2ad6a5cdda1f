"""The gateway over HTTP: signed forms in, `{code, message, data}` out, always with the status 200."""

import asyncio
import hmac
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath

from settlement.simulators.gateway.books import Books, Problem, shown
from settlement.simulators.gateway.courier import Courier, signature
from settlement.simulators.gateway.faults import Fault, fault_of

MAX_BODY_BYTES = 16_384
TOLERANCE_SECONDS = 600

Form = dict[str, str]
Asked = Request[Any, Any, Any]


@dataclass
class Gateway:
    """The program's state beside its books."""

    books: Books
    courier: Courier
    hang_ms: int = 1200
    seen: set[str] = field(default_factory=set)
    """Serial numbers that were lost once on purpose."""

    async def perform(self, action: str, form: Form) -> Any:
        acts: dict[str, Callable[[Form], Awaitable[Any]]] = {
            "account": lambda form: self.books.accounts(form["phone"]),
            "freeze": self._freeze,
            "unfreeze": self._unfreeze,
            "recharge": self._recharge,
            "order": self._order,
            "statement": self.books.statement,
        }
        if action not in acts:
            raise Problem("9998", "no such action")
        try:
            return await acts[action](form)
        except (KeyError, ValueError) as error:
            raise Problem("9997", "a field is missing or wrong") from error

    async def _freeze(self, form: Form) -> Any:
        return shown(await self.books.freeze(form))

    async def _unfreeze(self, form: Form) -> Any:
        return shown(await self.books.unfreeze(form["freeze_no"]))

    async def _order(self, form: Form) -> Any:
        order = await self.books.order(form["serial_no"])
        if order is None:
            raise Problem("2002", "no such order")
        return shown(order)

    async def _recharge(self, form: Form) -> Any:
        fault = fault_of(form["phone"])
        if fault in {Fault.LOSE_REQUEST_ONCE, Fault.LOSE_THEN_REFUSE} and form["serial_no"] not in self.seen:
            self.seen.add(form["serial_no"])
            await self._hang()
            raise Problem("9996", "lost")
        if fault in {Fault.REFUSE, Fault.LOSE_THEN_REFUSE}:
            raise Problem("3002", "the receiver is not eligible")
        if fault is Fault.LATE:
            await self._hang()
        if fault is Fault.OTHER_AMOUNT:
            form = {**form, "amount_mb": str(int(form["amount_mb"]) + 1)}
        order = await self.books.recharge(form)
        if fault is Fault.EARLY_PUSH:
            await self.courier.finish(order)
        else:
            self.courier.start(order)
        if fault in {Fault.LOSE_ANSWER, Fault.EARLY_PUSH}:
            await self._hang()
        if fault is Fault.STRANGE_CODE:
            raise Problem("7777", "something is different")
        return shown(order)

    async def _hang(self) -> None:
        await asyncio.sleep(self.hang_ms / 1000)


def create_app(database_url: str, partner_no: str, secret: str) -> Litestar:
    """The program for one partner."""
    books = Books(database_url)
    courier = Courier(books, partner_no, secret)
    gateway = Gateway(books, courier)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await books.open()
        await courier.resume()
        yield
        await courier.close()
        await books.pool.close()

    return Litestar(
        route_handlers=[health, act, administer],
        lifespan=[lifespan],
        state=State({"gateway": gateway}),
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
    )


@get("/health")
async def health() -> str:
    return "ok"


@post("/gateway/{action:str}", status_code=200)
async def act(request: Asked, action: FromPath[str]) -> Response[Any]:
    """One signed form."""
    gateway: Gateway = request.app.state.gateway
    form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    try:
        _check(form, gateway.courier)
        data = await gateway.perform(action, form)
    except Problem as problem:
        return Response({"code": problem.code, "message": problem.message})
    if action == "recharge" and fault_of(form["phone"]) is Fault.BAD_ANSWER:
        return Response("<html>Bad Gateway</html>", status_code=502, media_type="text/html")
    return Response({"code": "0000", "message": "ok", "data": data})


@post("/admin/{action:str}", status_code=200)
async def administer(request: Asked, action: FromPath[str]) -> Response[Any]:
    """What a test does behind the partner's back: `load`, `settings`, `reverse`, `totals`."""
    gateway: Gateway = request.app.state.gateway
    if request.headers.get("authorization") != f"Bearer {gateway.courier.secret}":
        return Response({"message": "who are you?"}, status_code=401)
    given = await request.json()
    match action:
        case "load":
            return Response({"account_no": await gateway.books.load(given)})
        case "settings":
            gateway.courier.finish_ms, gateway.hang_ms = given["finish_ms"], given["hang_ms"]
            return Response({})
        case "reverse":
            order = await gateway.books.reverse(given["serial_no"])
            await gateway.courier.push(order)
            return Response(shown(order))
        case "totals":
            return Response(await gateway.books.totals())
        case _:
            return Response({"message": "no such action"}, status_code=404)


def _check(form: Form, courier: Courier) -> None:
    if form.get("partner_no") != courier.partner_no:
        raise Problem("1003", "no such partner")
    if not hmac.compare_digest(form.get("sign", "").encode(), signature(form, courier.secret).encode()):
        raise Problem("1001", "the signature is wrong")
    at = form.get("timestamp", "")
    if not (at.isascii() and at.isdigit()) or abs(time.time() - int(at)) > TOLERANCE_SECONDS:
        raise Problem("1002", "the time is wrong")


def serve(database_url: str, port: int, partner_no: str, secret: str) -> None:
    """Serve on this machine until a signal comes."""
    uvloop.run(_serve(create_app(database_url, partner_no, secret), port))


async def _serve(app: Litestar, port: int) -> None:
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, websockets=False, log_enabled=False)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve()
