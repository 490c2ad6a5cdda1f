"""Settings and people for the web's tests, made with a few words."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from market.settings import Settings
from settlement.payments.values import PaymentSettings

WEBHOOK_SECRET = "whsec_demo_of_the_tests"


def settings_of(**changes: Any) -> Settings:
    """Settings of a demonstration whose servers nobody asks."""
    values: dict[str, Any] = {
        "environment": "demo",
        "database_url": "postgresql+asyncpg://127.0.0.1:1/none",
        "redis_url": "redis://127.0.0.1:1/0",
        "data_dir": Path("/nonexistent"),
        "secret_key": "demo_0123456789abcdefghijklmnopqrstuvwxyz",
        "public_url": "http://127.0.0.1:8000",
        "bind_host": "127.0.0.1",
        "carriers": (),
        "payment": PaymentSettings(
            api_key="sk_test_sim", webhook_secret=WEBHOOK_SECRET, api_base="http://127.0.0.1:8420", timeout_seconds=5
        ),
        "shards": 1,
        "currency": "CNY",
        "timezone": ZoneInfo("Asia/Shanghai"),
    }
    return Settings(**{**values, **changes})
