"""Webhook endpoints: where events are sent, each with a signing secret that is shown once."""

from settlement.simulators.payment import documents, lists
from settlement.simulators.payment.answers import Answer, Document, malformed
from settlement.simulators.payment.desk import Call
from settlement.simulators.payment.form import Form

MOST = 16


async def create(call: Call) -> Answer:
    form = call.form
    if await _count(call) >= MOST:
        raise malformed(f"You have reached the maximum of {MOST} test webhook endpoints.")
    endpoint: Document = {
        "id": documents.new_id("we"),
        "object": "webhook_endpoint",
        "api_version": form.text("api_version"),
        "application": None,
        "created": call.now,
        "description": form.text("description"),
        "enabled_events": _enabled_events(form),
        "livemode": False,
        "metadata": form.metadata(),
        "status": "enabled",
        "url": _url(form),
    }
    secret = f"whsec_{documents.token()}"
    await documents.insert(call, endpoint, {"connect": form.flag("connect"), "secret": secret})
    return Answer(200, endpoint | {"secret": secret})


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "webhook_endpoint", call.path["id"]))


async def update(call: Call) -> Answer:
    endpoint, form = await documents.find(call, "webhook_endpoint", call.path["id"]), call.form
    endpoint["metadata"] = form.metadata(endpoint["metadata"])
    if form.has("enabled_events"):
        endpoint["enabled_events"] = _enabled_events(form)
    if form.has("url"):
        endpoint["url"] = _url(form)
    if form.has("disabled"):
        endpoint["status"] = "disabled" if form.flag("disabled") else "enabled"
    await documents.save(call, endpoint)
    return Answer(200, endpoint)


async def delete(call: Call) -> Answer:
    endpoint = await documents.find(call, "webhook_endpoint", call.path["id"])
    await call.connection.execute("DELETE FROM objects WHERE id = $1", endpoint["id"])
    await call.connection.execute(
        "UPDATE deliveries SET status = 'given_up', last_result = 'endpoint deleted'"
        " WHERE endpoint = $1 AND status = 'pending'",
        endpoint["id"],
    )
    return Answer(200, {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True})


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "webhook_endpoint", "/v1/webhook_endpoints"))


async def _count(call: Call) -> int:
    return int(
        await call.connection.fetchval(
            "SELECT count(*) FROM objects WHERE kind = 'webhook_endpoint' AND account = $1", call.account
        )
    )


def _enabled_events(form: Form) -> list[str]:
    wanted = form.words("enabled_events")
    if not wanted:
        raise malformed("Missing required param: enabled_events.", "enabled_events", "parameter_missing")
    return wanted


def _url(form: Form) -> str:
    url = form.needed("url")
    if not url.startswith(("http://", "https://")):
        raise malformed("Invalid URL: an explicit scheme (such as https) must be provided.", "url", "url_invalid")
    return url
