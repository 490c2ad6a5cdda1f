"""Databases of today's form for tests: copies of one that the migrations made, each in a tenth of their time."""

import asyncio

import asyncpg
from sqlalchemy import make_url

from market import database

PATTERN = "migrated"
"""The database that is copied. Nobody else connects to it, or it could not be."""


def migrate(url: str) -> None:
    """Bring a new, empty database to today's form. Not to be called while an event loop runs."""
    asyncio.run(_copy(url))


async def _copy(url: str) -> None:
    name = make_url(url).database
    server = await asyncpg.connect(_dsn(url, "postgres"))
    try:
        if not await server.fetchval("select exists (select from pg_database where datname = $1)", PATTERN):
            await server.execute(f"create database {PATTERN}")
            await asyncio.to_thread(database.migrate, _url(url, PATTERN))
        await server.execute(f'drop database "{name}"')
        await server.execute(f'create database "{name}" template {PATTERN} strategy file_copy')
    finally:
        await server.close()


def _url(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _dsn(url: str, name: str) -> str:
    return database.raw_dsn(_url(url, name))
