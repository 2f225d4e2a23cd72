"""A Chromium without a window, told what to do over a pair of pipes: nothing listens on a port, and nothing else is installed."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOUND = 60.0
"""Seconds for one answer; nothing waits that long unless the browser hangs."""
PATIENCE = 45.0
"""Seconds for what a page is to come to; less than BOUND, so that it can still say what it shows instead."""


class Chromium:
    """One page. Every request that it makes is in `requests`."""

    def __init__(self, folder: Path, *flags: str, width: int = 1300, height: int = 900) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec chromium "$@" 3<&{read} 4>&{write}',  # a shell that knows numbers of two digits
                "bash",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-pipe",
                f"--window-size={width},{height}",
                f"--user-data-dir={folder}",
                *flags,
            ],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._number = 0
        self._kept = b""
        self._session = ""
        self._events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": dict(parameters or {})}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def open(self, url: str) -> None:
        """Load a page and wait until it is there."""
        self._events.clear()
        self.ask("Page.navigate", {"url": url})
        while not any(each.get("method") == "Page.loadEventFired" for each in self._events):
            self._events.append(self._next())

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self.ask("Runtime.evaluate", {"expression": script, "returnByValue": True})
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str) -> Any:
        """The value of an expression once it is true; the page looks again every 20 ms."""
        waiting = f"""new Promise((found, late) => {{ const end = performance.now() + {PATIENCE * 1000};
            const look = () => {{ const value = ({script}); if (value) found(value);
              else if (performance.now() > end) late(new Error("never, in " + document.body.innerText));
              else setTimeout(look, 20) }}; look() }})"""
        result = self.ask("Runtime.evaluate", {"expression": waiting, "returnByValue": True, "awaitPromise": True})
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def scheme(self, name: str) -> None:
        """What the person prefers: light or dark."""
        self.ask("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]})

    def size(self, width: int, height: int) -> None:
        """How large the page is, in its own pixels."""
        wanted = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", wanted)

    def picture(self, *, height: int | None = None) -> bytes:
        """The page as a PNG, down to `height`, or as far as it goes."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], height or size["height"]),
            "scale": 1,
        }
        taken = self.ask("Page.captureScreenshot", {"format": "png", "clip": clip, "captureBeyondViewport": True})
        return base64.b64decode(taken["data"])

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.ask("Input.insertText", {"text": text})

    def press(self, key: str, text: str = "") -> None:
        """One key, down and up, as a person would."""
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                {
                    "type": kind,
                    "key": key,
                    "code": key,
                    "text": text if kind == "keyDown" else "",
                    "windowsVirtualKeyCode": {"Escape": 27}.get(key, 0),  # without it no dialog closes
                },
            )

    @property
    def requests(self) -> list[str]:
        """Addresses that the page has asked for since it was opened."""
        return [
            each["params"]["request"]["url"]
            for each in self._events
            if each.get("method") == "Network.requestWillBeSent"
        ]

    @property
    def answered(self) -> list[tuple[str, int]]:
        """Addresses that have answered, and with which status, also where the page may not see it."""
        found = [
            each["params"]["response"] for each in self._events if each.get("method") == "Network.responseReceived"
        ]
        return [(each["url"], each["status"]) for each in found]

    @property
    def complaints(self) -> list[str]:
        """Errors of scripts, and what the page's own policy has refused."""
        return [
            json.dumps(each["params"])
            for each in self._events
            if each.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}
        ]

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._kept:
            ready, _, _ = select.select([self._read], [], [], BOUND)
            assert ready, "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser has ended"
            self._kept += piece
        message, _, self._kept = self._kept.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
