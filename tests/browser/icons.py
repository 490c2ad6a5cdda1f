"""Draws the icons of the installed app from `mark.svg`: `python -m tests.browser.icons` writes `web/static/icons`.

The maskable one fills its whole square, with the mark inside the circle that every system leaves.
"""

import asyncio
import base64
import os
import shutil
from pathlib import Path

from playwright.async_api import async_playwright

from tests.browser.people import CHROMIUM_ARGUMENTS
from web import design

STATIC = Path(design.STYLES).parent
GROUND = design.colours()["brand-strong"].light
SIZES = {"192": (192, 1.0), "512": (512, 1.0), "maskable": (512, 0.78)}
"""By the file's name: how many pixels it has, and how much of them the mark takes."""


async def draw() -> None:
    """Write each icon."""
    mark = base64.b64encode((STATIC / "mark.svg").read_bytes()).decode()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=list(CHROMIUM_ARGUMENTS)
        )
        for name, (pixels, share) in SIZES.items():
            page = await browser.new_page(viewport={"width": pixels, "height": pixels})
            ground = GROUND if name == "maskable" else "transparent"
            width = round(pixels * share)
            await page.set_content(
                f'<body style="margin:0;display:grid;place-items:center;height:100vh;background:{ground}">'
                f'<img src="data:image/svg+xml;base64,{mark}" width="{width}" height="{width}">'
            )
            await page.screenshot(path=STATIC / "icons" / f"{name}.png", omit_background=True)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(draw())
