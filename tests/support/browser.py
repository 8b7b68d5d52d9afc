"""Headless Chromium, driven as a user would drive it.

Spoken to in the browser's own protocol (DevTools) over one web socket: what the tests need of it
is a page of code, and the machine's Chromium is the one that is tested.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

__all__ = ["Browser", "browser_at", "chromium"]

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
_KEYS: Final = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowDown": 40}
_UNTIL: Final = """new Promise((resolve, reject) => {
  const holds = () => { try { return %s } catch (error) { return false } };
  const look = () => { const found = holds(); if (found) { end(); resolve(found) } };
  const end = () => { observer.disconnect(); clearTimeout(timer) };
  const observer = new MutationObserver(look);
  const timer = setTimeout(() => {
    end();
    reject(new Error("never so; the page says: " + document.body.innerText.slice(0, 2000)));
  }, %d);
  observer.observe(document, {subtree: true, childList: true, characterData: true,
    attributes: true});
  look();
})"""

_FAINT: Final = """(() => {
  const rgba = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = node => {
    for (let n = node; n; n = n.parentElement) {
      const [r, g, b, alpha] = rgba(getComputedStyle(n).backgroundColor);
      if (alpha === undefined || alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const texts = [...node.childNodes].filter(c => c.nodeType === 3);
    const text = texts.map(c => c.data).join("").trim();
    if (!text || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(rgba(ink)), light(behind(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push(text);
  }
  return faint;
})()"""


def chromium() -> str:
    """The machine's Chromium; without one the test is skipped, but not where CI runs it."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        assert not os.environ.get("CI"), "CI installs Chromium"
        pytest.skip("no Chromium here")
    return found


class Browser:
    """One tab."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse):
        self._loop = loop
        self._socket = socket
        self._ids = itertools.count(1)
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command of the protocol and returns its answer."""
        return self._loop.run_until_complete(self._command(method, params))

    async def _command(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._events.append(message)

    async def _event(self, method: str) -> None:
        while True:
            for event in self._events:
                if event.get("method") == method:
                    return
            self._events.append(await self._socket.receive_json(timeout=60))

    def open(self, url: str) -> None:
        """Goes to a page and waits until it is loaded."""
        for _ in range(10):
            self._events.clear()
            answer = self.command("Page.navigate", url=url)
            # Pods come and go with networks of their own; a browser takes note, and tries again.
            if answer.get("errorText") != "net::ERR_NETWORK_CHANGED":
                break
        assert "errorText" not in answer, f"{url}: {answer.get('errorText')}"
        self.wait_for_load()

    def wait_for_load(self) -> None:
        """Waits until the page that was asked for last is loaded."""
        self._loop.run_until_complete(self._event("Page.loadEventFired"))
        # The event may be that of the page before, which was still loading when it was left.
        self.evaluate(
            "new Promise(loaded => document.readyState === 'complete' ? loaded()"
            " : addEventListener('load', () => loaded()))"
        )

    def leave(self, act: Callable[[], Any]) -> None:
        """Does what leads to another page, and waits until that is loaded."""
        self._events.clear()
        act()
        self.wait_for_load()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str, timeout: float = 20) -> Any:
        """The expression's first true value, looked at again on every change of the page."""
        return self.evaluate(_UNTIL % (condition, int(timeout * 1000)))

    def press(self, key: str) -> None:
        """Presses and lets go of a key."""
        code = _KEYS[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    def resize(self, width: int, height: int = 800) -> None:
        """Gives the page a screen of this many pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def block(self, *urls: str) -> None:
        """Fails requests to these from now on, and no others."""
        self.command("Network.setBlockedURLs", urls=list(urls))

    def prefer(self, scheme: str) -> None:
        """Prefers ``light`` or ``dark``, as the system's setting does."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def faint(self) -> list[str]:
        """Texts that stand out from their ground by less than WCAG's 4.5."""
        return list(self.evaluate(_FAINT))

    def offline(self, offline: bool) -> None:
        """Cuts, or mends, the line to the server."""
        self.command(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Writes what is on the screen, or the whole page, to a PNG file."""
        answer = self.command("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextlib.contextmanager
def browser_at(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile in the folder; gone afterwards."""
    command = [chromium(), *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    loop = asyncio.new_event_loop()
    session: aiohttp.ClientSession | None = None
    try:
        address = _address(process)
        session, socket = loop.run_until_complete(_connected(address))
        yield Browser(loop, socket)
    finally:
        if session is not None:
            loop.run_until_complete(session.close())
        loop.close()
        process.terminate()
        process.communicate(timeout=30)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        _, found, address = line.partition("DevTools listening on ws://")
        if found:
            return address.partition("/")[0]
    raise AssertionError("Chromium ended before it listened")


async def _connected(
    address: str,
) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    async with session.get(f"http://{address}/json/list") as answer:
        tabs = await answer.json()
    tab = next(tab for tab in tabs if tab["type"] == "page")
    socket = await session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
    return session, socket
