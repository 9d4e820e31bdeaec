"""The page of the admin port in a real browser: that it fits, complains of nothing, runs no
stranger's words, and does what it says; and its pictures, docs/images/status-*.png.

The server is a real one, with a catalog and decisions, from tests/operation/status.rs.
"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from browser import Page

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 200_000
# A busy machine takes its time to build and to start.
DEADLINE = 1800.0
# Scheme, width, height, and what stands at the top.
PICTURES = {
    "status-desktop-light": ("light", 1280, 1210, "main"),
    "status-desktop-dark": ("dark", 1280, 900, "denials-title"),
    "status-phone-light": ("light", 360, 760, "main"),
    "status-phone-dark": ("dark", 360, 760, "explain-title"),
}
# How long the page watches before its picture is taken, so that there is something to see.
WATCH = 45.0


class Server:
    """A server that decides without end. It ends when its file goes."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="stagedoor-status-")
        self.told = Path(self._folder.name) / "told.json"
        command = ["cargo", "test", "--locked", "--workspace", "--quiet", "--test", "operation", "--",
                   "--ignored", "--exact", "status::serve_for_a_browser"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL,
                                         env={**os.environ, "STAGEDOOR_STATUS_TO": str(self.told)})
        deadline = time.monotonic() + DEADLINE
        while not (self.told.exists() and self.told.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("screenshots: the server for the status page did not start")
            time.sleep(0.1)
        given = json.loads(self.told.read_text())
        self.address, self.token = f"http://{given['admin']}/status", given["token"]
        return self

    def lose(self):
        """Has the catalog lose much at once, which is held back."""
        self.told.with_suffix(".hold").touch()

    def __exit__(self, *_):
        self.told.unlink()
        if self._process.wait(timeout=DEADLINE) != 0:
            raise SystemExit("screenshots: the server for the status page ended badly")
        self._folder.cleanup()


def expect(what, is_so, found=""):
    if not is_so:
        raise SystemExit(f"screenshots: status: not so: {what} {found}")
    print(f"status: {what}")


def card(title):
    """The card of a part, in the page."""
    return f"[...document.querySelectorAll('.part')].find((one) => one.querySelector('h3').textContent === {json.dumps(title)})"


def check(page, server):
    """What a person does there, with the keyboard."""
    page.look(360, 740, "light")
    page.go(server.address)
    page.until("document.querySelectorAll('#denials li').length >= 4")
    page.until("document.getElementById('allow-line').getAttribute('d').includes('L')")
    expect("says that it is ready", page.evaluate("document.getElementById('state').textContent") == "ready")
    hostile = "[...document.querySelectorAll('#denials .cut')].some((one) => one.textContent.includes('<script>'))"
    page.until(hostile)

    # One that ends within days, and a collector that isn't there.
    certificate = page.evaluate(f"{card('gRPC certificate')}.textContent")
    expect("marks a certificate that ends soon",
           page.evaluate(f"!!{card('gRPC certificate')}.querySelector('.pill.near')") and "ends soon" in certificate, certificate)
    page.until(f"{card('Collector')}?.querySelector('.pill.near')")
    collector = page.evaluate(f"{card('Collector')}.textContent")
    expect("marks a collector that takes nothing", "failing" in collector and "metrics: " in collector, collector)
    expect("marks nothing without a reason", page.evaluate(f"!!{card('Checks')}.querySelector('.pill.good')"))

    # Each part that can be opened is, for nothing of it may be too wide.
    page.evaluate("document.getElementById('all').click()")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for field, text in (("host", "payments.apps.example.com"), ("path", "/v1/<script>"), ("authorization", server.token)):
        page.evaluate(f"document.getElementById('{field}').focus(); document.getElementById('{field}').value = ''")
        page.type(text)
    page.evaluate("document.getElementById('path').value = '/v1/orders?q=<script>'")
    page.evaluate("document.querySelector('#explain button[type=submit]').focus()")
    page.press("Enter", 13, "\r")
    page.until("document.querySelector('#explanation .verdict')")
    told = page.evaluate("document.getElementById('explanation').textContent")
    expect("explains a request", "not_permitted" in told and "would permit, but for" in told, told)
    expect("shows strangers' words as words", "<script>document.title='hacked'</script>" in told, told)
    for width in (360, 320, 768, 1280):
        page.look(width, 740, "light")
        wide = page.evaluate("document.documentElement.scrollWidth")
        expect(f"fits into {width} px", wide <= width, f"{wide} px")
    page.look(360, 740, "dark")

    # One that is not open yet, and prepared for being explained.
    page.evaluate("document.querySelector('#denials .more button').click()")
    expect("takes a denial over into the form",
           page.evaluate("document.getElementById('path').value.startsWith('/')"
                         " && document.activeElement.id === 'authorization'"))

    page.evaluate("document.querySelector('[data-act=\"Read it again now\"]').click()")
    page.until("document.getElementById('said').textContent.includes('read again')")
    expect("has the catalog read again", True)
    server.lose()
    page.until("document.querySelector('[data-act=held]')")
    page.evaluate("document.querySelector('[data-act=held]').click()")
    expect("asks before it adopts what is held back",
           page.evaluate("document.getElementById('confirm').open"
                         " && document.activeElement.value === 'no'"
                         " && document.getElementById('confirm-examples').children.length > 0"))
    page.press("Escape", 27)
    page.until("!document.getElementById('confirm').open")
    expect("leaves it where it is told no",
           page.evaluate("fetch('/status', { headers: { accept: 'application/json' } })"
                         ".then((answer) => answer.json()).then((status) => !!status.catalog.held)"))
    page.evaluate("document.querySelector('[data-act=held]').click()")
    page.evaluate("document.getElementById('confirm-yes').focus()")
    page.press("Enter", 13, "\r")
    page.until("document.getElementById('said').textContent.includes('confirmed')")
    page.until("!document.querySelector('[data-act=held]')")
    expect("adopts what is held back", True)

    contrast(page)
    elements = page.evaluate("document.querySelectorAll('script').length + ':' + document.querySelectorAll('img').length")
    expect("has no element of a stranger's", elements == "1:0", elements)
    title = page.evaluate("document.title")
    expect("runs no stranger's script", title == "Stagedoor", title)
    expect("has nothing to complain of", not page.complaints, page.complaints)


# The ratio of WCAG 2.2 between each text and what is behind it.
CONTRAST = """(() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((all, one, at) => all + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() || ['SCRIPT', 'STYLE'].includes(element.tagName) || element.disabled) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)}: ${texts.currentNode.data.trim().slice(0, 40)}`);
  }
  return low;
})()"""


def contrast(page):
    for scheme in ("light", "dark"):
        page.look(1280, 900, scheme)
        low = page.evaluate(CONTRAST)
        expect(f"can be read in {scheme}", not low, low)


def pictures(page, server):
    page.look(1280, 900, "light")
    page.go(server.address)
    page.until("document.querySelectorAll('#denials li').length >= 4")
    time.sleep(WATCH)
    for field, text in (("host", "payments.apps.example.com"), ("path", "/v1/orders"), ("authorization", server.token)):
        page.evaluate(f"document.getElementById('{field}').value = {json.dumps(text)}")
    page.evaluate("document.querySelector('#explain button[type=submit]').click()")
    page.until("document.querySelector('#explanation .verdict')")
    for name, (scheme, width, height, top) in PICTURES.items():
        page.look(width, height, scheme)
        page.evaluate("document.activeElement.blur()")
        # Below the bar, which stays where it is on a wide screen.
        page.evaluate(f"scrollTo(0, '{top}' === 'main' ? 0 : document.getElementById('{top}')"
                      f".getBoundingClientRect().top + scrollY - ({width} > 700 ? 76 : 12))")
        file = IMAGES / f"{name}.png"
        page.picture(file)
        size = file.stat().st_size
        print(f"{file.relative_to(ROOT)}: {size} bytes")
        if size > MAX_BYTES:
            raise SystemExit(f"screenshots: {file} is larger than {MAX_BYTES} bytes")


def see(only_check):
    """Looks at the page, and takes its pictures unless it is only to be checked."""
    with Server() as server, Page() as page:
        if not only_check:
            pictures(page, server)
        check(page, server)
