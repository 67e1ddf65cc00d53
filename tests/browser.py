"""A real browser for tests and pictures: Chromium without a window, spoken to over its DevTools protocol."""

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

# Nothing of it may look for a network; as root it has no sandbox.
_FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
          "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
          "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0"]  # fmt: skip
_PATIENCE = 60  # seconds


class BrowserError(Exception):
    """A page that does not become what is waited for."""


def chromium() -> str:
    """Return the browser's path; where it is missing, a CI machine installs it, and a test elsewhere is skipped."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if not os.environ.get("CI"):
        pytest.skip("Chromium is not there")
    return installed("chromium")


def installed(program: str) -> str:
    """Return the path of a Debian package's program of the same name, which a CI machine installs or fails."""
    if not shutil.which(program) and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", program]):
            subprocess.run(command, capture_output=True, check=False)
    return shutil.which(program) or pytest.fail(f"{program} is not there, and cannot be installed")


class Page:
    """A page of the browser."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop, self._socket, self._asked = loop, socket, 0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Return what the browser answers to a DevTools command."""
        return self._loop.run_until_complete(asyncio.wait_for(self._ask(method, params), _PATIENCE))

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": params})
        while True:
            said = json.loads(await self._socket.receive_str())
            if said.get("id") == self._asked:
                if "error" in said:
                    raise BrowserError(f"{method}: {said['error']}")
                result: dict[str, Any] = said["result"]
                return result

    def evaluate(self, script: str) -> Any:
        """Return the value of JavaScript."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise BrowserError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until JavaScript is true, and return its value."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if found := self.evaluate(script):
                return found
            time.sleep(0.1)
        raise BrowserError(f"{script} does not become true; the page says: {self.text()[:2000]}")

    def open(self, address: str) -> None:
        """Go to an address, and wait until it is loaded."""
        self.ask("Page.navigate", url=address)
        self.wait(f"document.readyState == 'complete' && location.href.startsWith({json.dumps(address[:30])})")

    def text(self) -> str:
        """Return what the page says."""
        return str(self.evaluate("document.body.innerText"))

    def wait_for(self, *texts: str) -> None:
        """Wait until the page says these."""
        for text in texts:
            self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, selector: str, text: str = "") -> None:
        """Wait for an element that a selector finds, the innermost whose text begins with this, and click on it."""
        found = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".filter(e => e.innerText.trim().startsWith({json.dumps(text)})).at(-1)"
        )
        self.wait(f"!!{found}")
        box = self.evaluate(
            f"(() => {{const e = {found}; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
            "return {x: r.x + r.width / 2, y: r.y + r.height / 2}})()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **box)

    def settle(self) -> None:
        """Wait until what the page says has stayed the same for a second."""
        until, before, since = time.monotonic() + _PATIENCE, "", time.monotonic()
        while time.monotonic() < until:
            if (now := self.text()) != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > 1:
                return
            time.sleep(0.1)
        raise BrowserError("the page does not come to rest")

    def screenshot(self, path: Path) -> None:
        """Save what is seen, in at most 256 colours: a quarter of the bytes, and nobody sees it."""
        from PIL import Image

        seen = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(seen)).convert("RGB").quantize(256).save(path, optimize=True)


@contextmanager
def browser(width: int = 1500, height: int = 900) -> Iterator[Page]:
    """Yield an empty page of a browser that knows nothing from before."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [chromium(), *_FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}", "about:blank"]
        env = {**os.environ, "HOME": folder}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env) as process:
            loop = asyncio.new_event_loop()
            session: aiohttp.ClientSession | None = None
            try:
                session, socket = loop.run_until_complete(_connect(Path(folder, "DevToolsActivePort")))
                page = Page(loop, socket)
                page.ask(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
                )
                yield page
            finally:
                if session:
                    loop.run_until_complete(session.close())
                loop.close()
                process.kill()


async def _connect(port: Path) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    """Return a connection to the browser's first page, once it says where it listens."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and not (port.exists() and port.read_text().count("\n")):
        await asyncio.sleep(0.05)
    session = aiohttp.ClientSession()
    try:
        while True:
            async with session.get(f"http://127.0.0.1:{port.read_text().split()[0]}/json/list") as answer:
                pages = [target for target in await answer.json() if target["type"] == "page"]
            if pages:
                return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
    except BaseException:
        await session.close()
        raise
