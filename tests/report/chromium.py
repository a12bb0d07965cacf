"""A headless Chromium, spoken to in its DevTools protocol over pipes: what a page does, and how it lies on a screen."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 60


def find():
    """The browser's program, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in one browser; a context."""

    def __init__(self, profile: Path):
        (down, self.down), (self.up, up) = os.pipe(), os.pipe()
        # The browser reads from descriptor 3 and writes to 4; not every sh can move one above 9.
        words = ["bash", "-c", f'exec "$0" "$@" 3<&{down} 4>&{up}', find(), *FLAGS, f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            words, pass_fds=(down, up), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.close(down), os.close(up)
        self.count, self.buffer, self.session, self.events = 0, b"", None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.down), os.close(self.up)

    def ask(self, method, **params):
        """The answer to a command."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.down, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda found: found.get("id") == self.count)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path, *, width: int, height: int = 900):
        """Show a file on a screen of this width in pixels; events from then on are kept."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        self._until(lambda found: found.get("method") == "Page.loadEventFired")

    def value(self, expression):
        """The value of a JavaScript expression."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    @property
    def requested(self):
        """What was asked for, but for the file itself and what stands in it."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("file:", "data:"))]

    @property
    def complaints(self):
        """Errors and warnings of the console, and exceptions."""
        found = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str(params["args"]))
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found

    def _until(self, wanted):
        """The first message that is wanted; events before it, and itself if it is one, are kept."""
        end = time.monotonic() + SECONDS
        while True:
            while b"\0" not in self.buffer:
                assert time.monotonic() < end, "the browser does not answer"
                part = os.read(self.up, 1 << 16)
                assert part, "the browser has ended"
                self.buffer += part
            text, _, self.buffer = self.buffer.partition(b"\0")
            found = json.loads(text)
            if "method" in found:
                self.events.append(found)
            if wanted(found):
                return found
