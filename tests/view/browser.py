"""A headless Chromium, driven by the WebDriver protocol over HTTP: what these tests need of it."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import subprocess
import time

import urllib3

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "End": "\ue010", "Home": "\ue011"}
KEYS |= {"Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015"}
_FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "force-device-scale-factor=1",
)


class Browser:
    """One window; a context manager. ``profile`` is an empty folder for it."""

    def __init__(self, profile, width=1366, height=850, *, dark=False):
        self._profile = profile
        self._http = urllib3.PoolManager(timeout=60, retries=False)
        self._driver = None
        self._view = width, height, dark

    def __enter__(self):
        self._driver = subprocess.Popen(
            [CHROMEDRIVER, "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self._begin()
        except BaseException:
            self._end_driver()
            raise
        return self

    def _begin(self):
        for line in self._driver.stdout:
            if found := re.search(r"successfully on port (\d+)", line):
                self._url = f"http://127.0.0.1:{found[1]}"
                break
        flags = [f"--{flag}" for flag in _FLAGS] + [f"--user-data-dir={self._profile}"]
        wanted = {
            "goog:chromeOptions": {"args": flags, "binary": CHROMIUM},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/session/{session['sessionId']}"
        width, height, dark = self._view
        self.resize(width, height)
        self.scheme("dark" if dark else "light")

    def __exit__(self, *_):
        with contextlib.suppress(Exception):  # whatever it says, its process ends
            self._ask("DELETE", "")
        self._end_driver()

    def _end_driver(self):
        self._driver.terminate()
        self._driver.wait(20)
        self._driver.stdout.close()

    def resize(self, width, height):
        """Be a screen of this size; a narrow one is a phone's."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self._chrome("Emulation.setDeviceMetricsOverride", screen)

    def scheme(self, name):
        """Be a system whose programs are ``dark`` or ``light``."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self._chrome("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """Return what the body of a function returns; a promise is waited for."""
        given = {"script": script, "args": list(arguments)}
        return self._ask("POST", "/execute/sync", given)

    def wait(self, script, timeout_s=20):
        """Return what a script returns as soon as that is true."""
        end = time.monotonic() + timeout_s
        while not (found := self.run(f"return {script}")):
            assert time.monotonic() < end, f"{script} is not true of:\n{self.text()}"
            time.sleep(0.05)
        return found

    def text(self):
        return self.run("return document.body.innerText")

    def click(self, selector):
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector, text):
        self._ask("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def press(self, *names):
        """Press keys, one after the other, where the focus is."""
        actions = []
        for name in names:
            key = KEYS.get(name, name)
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def drag(self, selector, start, end):
        """Draw the mouse over an element, from one share of its width to another."""
        box = self.run(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]",
            selector,
        )
        at = [round(box[0] + share * box[2]) for share in (start, end)]
        row = round(box[1] + box[3] / 2)
        moves = [
            {"type": "pointerMove", "x": at[0], "y": row, "duration": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": at[1], "y": row, "duration": 50},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "m", "actions": moves}
        self._ask("POST", "/actions", {"actions": [mouse]})

    def said(self):
        """Return what the console says: errors of scripts, and what a policy forbade."""
        return [each["message"] for each in self._ask("POST", "/se/log", {"type": "browser"})]

    def picture(self):
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def _find(self, selector):
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def _chrome(self, command, parameters):
        self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, method, path, body=None):
        answer = self._http.request(method, self._url + path, json=body).json()
        value = answer["value"]
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{path}: {value['error']}: {value['message']:.500}")
        return value
