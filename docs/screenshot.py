"""Takes how-to/endpoint-picker.png, the demo's page: ``python docs/screenshot.py``, with Chromium on the PATH.

It plays the demo, opens the live page that the demo names, and takes the picture when most slots are in use.
"""

import asyncio
import base64
import itertools
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

__all__ = ["main"]

PICTURE = Path(__file__).with_name("how-to") / "endpoint-picker.png"
WIDTH, HEIGHT = 1280, 1040
IS_BUSY = """new Promise(done => { const look = () =>
    document.querySelector("#pods")?.innerText.match(/100 % full/g)?.length >= 3 ? done(true) : setTimeout(look, 50);
    look() })"""


async def main() -> None:
    """Take the picture."""
    chromium = shutil.which("chromium") or sys.exit("no chromium is on the PATH: install it, and try again")
    with tempfile.TemporaryDirectory() as profile:
        options = ("--headless=new", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
        browser = await asyncio.create_subprocess_exec(
            chromium, *options, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.PIPE
        )
        demo = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "examples.demo", stdout=asyncio.subprocess.PIPE
        )
        try:
            port = await told(browser.stderr, r"DevTools listening on ws://127\.0\.0\.1:(\d+)/")
            page = await told(demo.stdout, r"live page of the Endpoint Picker: (\S+)")
            async with asyncio.timeout(60):
                PICTURE.write_bytes(await picture(port, page))
        finally:
            demo.terminate()
            await demo.communicate()
            browser.terminate()
            await browser.communicate()


async def told(stream: asyncio.StreamReader | None, pattern: str) -> str:
    """Read what a program says until it says this."""
    assert stream is not None  # noqa: S101 - it was asked for
    async for line in stream:
        if found := re.search(pattern, line.decode()):
            return found[1]
    return sys.exit(f"a program ended, and said nothing like {pattern!r}")


async def picture(port: str, page: str) -> bytes:
    """Open the page, and wait for the moment."""
    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{port}/json") as answer:
            address = next(each["webSocketDebuggerUrl"] for each in await answer.json() if each["type"] == "page")
        async with http.ws_connect(address, max_msg_size=0) as socket:
            numbers = itertools.count(1)

            async def call(method: str, **parameters: Any) -> Any:
                number = next(numbers)
                await socket.send_json({"id": number, "method": method, "params": parameters})
                while (heard := await socket.receive_json()).get("id") != number:
                    pass
                return heard["result"]

            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            await call("Emulation.setDeviceMetricsOverride", **size)
            await call("Page.navigate", url=page)
            await call("Runtime.evaluate", expression=IS_BUSY, awaitPromise=True)
            return base64.b64decode((await call("Page.captureScreenshot", format="png"))["data"])


if __name__ == "__main__":
    asyncio.run(main())
