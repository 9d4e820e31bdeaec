"""A real browser without a window, told what to do over a pipe (Chrome DevTools Protocol).

Needs Chromium (on Debian: apt-get install chromium); CHROMIUM names another place of it.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

# A busy machine takes its time to start one.
DEADLINE = 120.0
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
]


def chromium():
    """Where the browser is."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        found = name and shutil.which(name)
        if found:
            return found
    sys.exit("no Chromium here. On Debian: apt-get install chromium; or name it in CHROMIUM.")


class Page:
    """A page in a browser of its own, with a profile that nobody used before."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="stagedoor-browser-")
        # It reads what it is to do from descriptor 3 and answers on 4: a shell makes them
        # these, of ones that are out of their way.
        given, self._orders = os.pipe()
        self._answers, taken = os.pipe()
        orders, answers = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (given, taken))
        command = [chromium(), *FLAGS, f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{orders} 4>&{answers}', "bash", *command],
            pass_fds=(orders, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (given, taken, orders, answers):
            os.close(end)
        os.set_blocking(self._answers, False)
        self._read, self._number, self._session = b"", 0, None
        # What the page had to say: errors, warnings, refusals.
        self.complaints = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._orders)
        os.close(self._answers)
        # What it is still writing at its end may be in the way.
        shutil.rmtree(self._profile.name, ignore_errors=True)
        self._profile._finalizer.detach()

    def look(self, width, height, scheme):
        """Takes on a screen of this size, in light or dark."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                   deviceScaleFactor=1, mobile=width < 600)
        self._call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ])

    def go(self, address):
        self._call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def evaluate(self, script):
        """What a script in the page comes to."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script):
        """Waits until a script comes to something true."""
        deadline = time.monotonic() + DEADLINE
        while not self.evaluate(f"Boolean({script})"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"in vain: {script}")
            time.sleep(0.05)

    def type(self, text):
        """Types into what has the focus."""
        self._call("Input.insertText", text=text)

    def press(self, key, code=0, text=None):
        """Presses a key and lets it go."""
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown", **given, **({"text": text} if text else {}))
        self._call("Input.dispatchKeyEvent", type="keyUp", **given)

    def picture(self, file, whole=False):
        """Takes a picture of what can be seen, or of all of the page."""
        extra = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = self._call("Page.getLayoutMetrics")["cssContentSize"]
            extra["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self._call("Page.captureScreenshot", format="png", **extra)["data"]
        file.write_bytes(base64.b64decode(data))

    def _call(self, method, **parameters):
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        deadline = time.monotonic() + DEADLINE
        while True:
            message = self._next(deadline)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._happened(message)

    def _next(self, deadline):
        while b"\0" not in self._read:
            try:
                part = os.read(self._answers, 1 << 20)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError("the browser does not answer") from None
                time.sleep(0.005)
                continue
            if not part:
                raise RuntimeError(f"the browser has ended with {self._process.wait()}")
            self._read += part
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def _happened(self, event):
        method, given = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(given["exceptionDetails"])[:1000])
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(given["args"])[:1000])
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}"[:1000])
