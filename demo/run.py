#!/usr/bin/env python3
"""Shows who may do what: starts everything on loopback and asks through Envoy.

    make demo            run it; ends with an error if an answer isn't as announced
    make demo KEEP=1     leave everything running, with curl lines to try

What is started: a development tenant that signs real tokens, and a small service
behind Envoy (both `devtenant`), Stagedoor with demo/stagedoor.yaml, and an Envoy
with envoy/tcp.yaml. Only the ports differ from these files: free ones are taken.
Logs and the audit records are in target/demo.

Needs Python 3.9, cargo, and nothing besides.
"""

import base64
import dataclasses
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
KEEP = os.environ.get("KEEP", "") not in ("", "0")
TTY = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

# How long a process may take to be ready, on a busy machine.
START_DEADLINE = 60.0


@dataclasses.dataclass
class Case:
    """One request, and what is announced about its answer."""

    title: str
    # Whose token: a name in people.json and what the tenant is asked to do to the
    # token. None: no token.
    who: Optional[str]
    request: str
    status: int
    # The reason code in the body of a denial.
    reason: Optional[str] = None
    # Titles of the owners that a denied person is told to talk to.
    owners: Optional[List[str]] = None
    # What the service behind Envoy must see; None: must not see at all. `@` stands
    # for the object id in the token.
    sees: Dict[str, Optional[str]] = dataclasses.field(default_factory=dict)
    token: Dict[str, str] = dataclasses.field(default_factory=dict)
    # Headers that the client makes up.
    sends: Dict[str, str] = dataclasses.field(default_factory=dict)


SUBJECT, KIND, ENTITY = "x-stagedoor-subject", "x-stagedoor-kind", "x-stagedoor-entity"
PAYMENTS = "component:default/payments"

# Who the people in people.json are.
WHO = {
    None: "nobody: no token",
    "olivia": "olivia, of the team Payments",
    "ravi": "ravi, of Refunds, a part of Payments",
    "tomas": "tomas, of the team Orders",
    "billing-job": "billing-job, an application with the role Orders.Read.All",
}

CASES = [
    Case(
        "The owners of a service may read it …",
        "olivia", "GET payments.example.com/v1/invoices", 200,
        sees={SUBJECT: "@", KIND: "user", ENTITY: PAYMENTS},
    ),
    Case(
        "… and change it",
        "olivia", "POST payments.example.com/v1/invoices", 200,
        sees={SUBJECT: "@", ENTITY: PAYMENTS},
    ),
    Case(
        "A team inside the owning team is part of it",
        "ravi", "POST payments.example.com/v1/refunds", 200,
        sees={SUBJECT: "@", KIND: "user", ENTITY: PAYMENTS},
    ),
    Case(
        "Another team is told whom to ask",
        "tomas", "GET payments.example.com/v1/invoices", 403,
        reason="not_permitted", owners=["Payments"],
    ),
    Case(
        "The same person may use what their own team owns",
        "tomas", "GET orders.apps.example.com/v1/orders", 200,
        sees={SUBJECT: "@", ENTITY: "component:default/orders"},
    ),
    Case(
        "An application may read by its app role …",
        "billing-job", "GET orders.apps.example.com/v1/orders", 200,
        sees={SUBJECT: "@", KIND: "workload", ENTITY: "component:default/orders"},
    ),
    Case(
        "… but not change anything",
        "billing-job", "POST orders.apps.example.com/v1/orders", 403,
        reason="not_permitted", owners=["Orders"],
    ),
    Case(
        "A stranger has to sign in",
        None, "GET payments.example.com/v1/invoices", 401,
        reason="token_missing",
    ),
    Case(
        "A token that has expired is no token",
        "olivia", "GET payments.example.com/v1/invoices", 401,
        reason="token_expired", token={"expired": "true"},
    ),
    Case(
        "Nor is one for another API",
        "olivia", "GET payments.example.com/v1/invoices", 401,
        reason="token_audience", token={"aud": "api://something-else"},
    ),
    Case(
        "A public route asks nothing …",
        None, "GET payments.example.com/healthz", 200,
    ),
    Case(
        "… but takes away an identity that a client made up",
        None, "GET payments.example.com/healthz", 200,
        sends={SUBJECT: "root", ENTITY: "system:default/everything"},
        sees={SUBJECT: None, ENTITY: None},
    ),
    Case(
        "And a known client can't be somebody else either",
        "ravi", "GET payments.example.com/v1/refunds", 200,
        sends={SUBJECT: "root", KIND: "workload"},
        sees={SUBJECT: "@", KIND: "user"},
    ),
    Case(
        "Envoy's own route says what /admin is about: owners pass …",
        "olivia", "GET payments.example.com/admin/keys", 200,
        sees={SUBJECT: "@", ENTITY: PAYMENTS},
    ),
    Case(
        "… others don't, however they spell it",
        "tomas", "GET payments.example.com/v1/..//admin/keys", 403,
        reason="not_permitted", owners=["Payments"],
    ),
    Case(
        "What can be read in two ways is refused",
        "olivia", "GET payments.example.com/v1/%2561dmin", 400,
        reason="path_not_canonical",
    ),
    Case(
        "What no route covers is denied, even to its owner",
        "olivia", "GET payments.example.com/v2/invoices", 403,
        reason="no_route",
    ),
]


class DemoError(Exception):
    """What went wrong, in words for the person at the terminal."""


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if TTY else text


def bold(text: str) -> str:
    return paint("1", text)


def dim(text: str) -> str:
    return paint("2", text)


def good(text: str) -> str:
    return paint("32", text)


def bad(text: str) -> str:
    return paint("31;1", text)


def say(text: str = "") -> None:
    print(text, flush=True)


class Stage:
    """The processes, their ports, and the folder they run in."""

    def __init__(self, binaries: Path, envoy: str) -> None:
        self.binaries = binaries
        self.envoy = envoy
        self.folder = binaries.parent / "demo"
        self.processes: Dict[str, subprocess.Popen] = {}
        self.tenant, self.service, self.grpc, self.admin, self.front, self.envoy_admin = free_ports(6)

    def __enter__(self) -> "Stage":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        running = [p for p in reversed(list(self.processes.values())) if p.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + 3
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self) -> None:
        """Starts everything, each thing when what it needs is there."""
        config = (DEMO / "stagedoor.yaml").read_text()
        tenant_id = re.search(r"- id: ([0-9a-f-]{36})", config)
        if tenant_id is None:
            raise DemoError("demo/stagedoor.yaml names no tenant")
        self.spawn(
            "devtenant",
            self.binaries / "devtenant", "serve",
            "--tenant-listen", f"127.0.0.1:{self.tenant}",
            "--service-listen", f"127.0.0.1:{self.service}",
            "--tenant-id", tenant_id.group(1),
            "--people", DEMO / "people.json",
        )
        self.wait("devtenant", lambda: answers(self.tenant, "/dev/token?as=olivia") == 200)

        stagedoor = self.write("stagedoor.yaml", config, {
            '"127.0.0.1:9191"': f'"127.0.0.1:{self.grpc}"',
            '"127.0.0.1:9192"': f'"127.0.0.1:{self.admin}"',
            "authority: http://127.0.0.1:8082": f"authority: http://127.0.0.1:{self.tenant}",
            "issuer_v1: http://127.0.0.1:8082": f"issuer_v1: http://127.0.0.1:{self.tenant}",
            "./catalog": json.dumps(str(DEMO / "catalog")),
            "policies/demo.cedar": json.dumps(str(DEMO / "policies" / "demo.cedar")),
            "to: stdout": "to: " + json.dumps(f"file:{self.folder / 'audit.jsonl'}"),
        })
        self.spawn("stagedoor", self.binaries / "stagedoor", "serve", "--config", stagedoor)
        self.wait("stagedoor", lambda: answers(self.admin, "/ready") == 200)

        def port(number: int) -> str:
            return f"{{ address: 127.0.0.1, port_value: {number} }}"

        envoy = self.write("envoy.yaml", (ROOT / "envoy" / "tcp.yaml").read_text(), {
            port(8080): port(self.front),
            port(8081): port(self.service),
            port(9191): port(self.grpc),
            port(9901): port(self.envoy_admin),
        })
        self.spawn(
            "envoy",
            self.envoy, "--config-path", envoy,
            "--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "100",
        )
        self.wait("envoy", lambda: answers(self.envoy_admin, "/ready") == 200)

    def write(self, name: str, text: str, changes: Dict[str, str]) -> Path:
        """Writes a shipped file into the run folder, with other addresses."""
        for old, new in changes.items():
            if text.count(old) != 1:
                raise DemoError(f"{name}: `{old}` should be there once, and is {text.count(old)} times")
        # All at once, so that no address put in is taken for one to replace.
        pattern = re.compile("|".join(re.escape(old) for old in changes))
        file = self.folder / name
        file.write_text(pattern.sub(lambda match: changes[match.group()], text))
        return file

    def spawn(self, name: str, *command: object) -> None:
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                # Not ours to share: a Ctrl-C reaches us, and we end them in order.
                start_new_session=True,
            )

    def wait(self, name: str, ready) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while not ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise DemoError(f"{name} is not ready after {START_DEADLINE:.0f} s")
            time.sleep(0.05)
        say(dim(f"{name} is ready"))

    def check_alive(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise DemoError(f"{name} ended by itself, with {process.returncode}")

    def token_path(self, case: Case) -> str:
        return "/dev/token?" + urlencode({"as": case.who, **case.token})

    def fetch_token(self, case: Case) -> str:
        status, _, body = exchange(self.tenant, "GET", self.token_path(case), {})
        if status != 200:
            raise DemoError(f"no token for {case.who}: {status} {body.decode(errors='replace')}")
        return token_in(body)

    def show_logs(self) -> None:
        for name in self.processes:
            file = self.folder / f"{name}.log"
            lines = file.read_text(errors="replace").splitlines()[-15:]
            say(f"\n{bold(f'The end of {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}')}")
            for line in lines:
                say("  " + line)


def free_ports(count: int) -> List[int]:
    """Ports of loopback that were free just now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


def exchange(port: int, method: str, path: str, headers: Dict[str, str]):
    """One request, its path as it stands. Returns status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host="host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if method == "POST":
            connection.putheader("content-length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
    finally:
        connection.close()


def answers(port: int, path: str) -> Optional[int]:
    try:
        return exchange(port, "GET", path, {})[0]
    except (OSError, http.client.HTTPException):
        return None


def token_in(body: bytes) -> str:
    """The token of the tenant's answer, which is the token itself or JSON around it."""
    text = body.decode().strip()
    return json.loads(text)["access_token"] if text.startswith("{") else text


def object_id(token: str) -> str:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["oid"]


def json_in(body: bytes) -> dict:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclasses.dataclass
class Answer:
    status: int
    headers: Dict[str, str]
    body: dict
    # What the service behind Envoy got, by lower-case name; None: it got nothing.
    seen: Optional[Dict[str, List[str]]]
    subject: Optional[str]


def ask(stage: Stage, case: Case) -> Answer:
    method, url = case.request.split(" ")
    host, slash, path = url.partition("/")
    headers = {"host": host, **case.sends}
    subject = None
    if case.who is not None:
        token = stage.fetch_token(case)
        subject = object_id(token)
        headers["authorization"] = f"Bearer {token}"
    status, answer_headers, body = exchange(stage.front, method, slash + path, headers)
    content = json_in(body)
    seen = None
    if isinstance(content.get("headers"), list):
        seen = {}
        for name, value in content["headers"]:
            seen.setdefault(name.lower(), []).append(value)
    return Answer(status, answer_headers, content, seen, subject)


def differences(case: Case, answer: Answer) -> List[str]:
    """What isn't as announced; empty when all is."""
    found = []

    def same(what: str, expected, got) -> None:
        if expected != got:
            found.append(f"{what}: expected {expected!r}, got {got!r}")

    same("status", case.status, answer.status)
    same("reason", case.reason, answer.body.get("reason"))
    if case.owners is not None:
        owners = answer.body.get("owners")
        same("owners", case.owners, [o.get("title") for o in owners] if owners else None)
    if case.status == 401 and "bearer" not in answer.headers.get("www-authenticate", "").lower():
        found.append("there is no `www-authenticate: Bearer`")
    if case.reason is not None and not answer.body.get("decision_id"):
        found.append("the body has no decision_id")
    if (answer.seen is not None) != (case.status == 200):
        found.append("the request " + ("reached the service" if answer.seen else "did not reach the service"))
    for name, expected in case.sees.items():
        wanted = [] if expected is None else [answer.subject if expected == "@" else expected]
        same(f"the service sees {name}", wanted, (answer.seen or {}).get(name, []))
    return found


def show(number: int, case: Case, answer: Answer, wrong: List[str]) -> None:
    say(f"\n{bold(f'{number:2}  {case.title}')}")
    token = "".join(f" (token: {name} {value})" for name, value in case.token.items())
    say(f"    who       {WHO.get(case.who, case.who)}{token}")
    say(f"    request   {case.request}")
    for name, value in case.sends.items():
        say(f"              {name}: {value}")
    expected = f"{case.status} {case.reason or ''}".strip()
    got = f"{answer.status} {answer.body.get('reason') or ''}".strip()
    say(f"    expected  {expected}")
    say(f"    got       {bad(got) if wrong else good(got)}")
    if answer.body.get("detail"):
        say(f"    detail    {answer.body['detail']}")
    if answer.body.get("owners"):
        owners = ", ".join(
            f"{o.get('title')} ({o.get('email') or o.get('entity')})" for o in answer.body["owners"]
        )
        say(f"    owned by  {owners}")
    if answer.seen is not None:
        identity = [(n, v) for n, v in sorted(answer.seen.items()) if n.startswith("x-stagedoor-")]
        for index, (name, values) in enumerate(identity):
            say(f"    {'service' if index == 0 else '':7}   got {name}: {', '.join(values)}")
        if not identity:
            say("    service   got no identity headers")
    for line in wrong:
        say("    " + bad("WRONG     " + line))


def show_audit_record(stage: Stage, decision_id: str) -> None:
    """Records are written after the answer, so this one is waited for."""
    file = stage.folder / "audit.jsonl"
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lines = file.read_text().splitlines() if file.exists() else []
        for line in lines:
            if decision_id in line:
                say(f"\n{bold('The audit record of the denial that told whom to ask')}")
                for row in json.dumps(json.loads(line), indent=2, ensure_ascii=False).splitlines():
                    say("    " + row)
                return
        time.sleep(0.05)
    raise DemoError(f"{file} has no record of the decision {decision_id}")


def show_curl_lines(stage: Stage) -> None:
    tenant, front = f"http://127.0.0.1:{stage.tenant}", f"http://127.0.0.1:{stage.front}"
    say(f"\n{bold('Everything is running; Ctrl-C ends it. To try, in another terminal:')}\n")
    # Reads both forms that a token can come in.
    say(f"  token() {{ curl -s \"{tenant}/dev/token?as=$1\" "
        "| sed 's/.*\"access_token\" *: *\"\\([^\"]*\\)\".*/\\1/'; }")
    for who, host, path in [
        ("olivia", "payments.example.com", "/v1/invoices"),
        ("tomas", "payments.example.com", "/v1/invoices"),
        ("billing-job", "orders.apps.example.com", "/v1/orders"),
    ]:
        say(f"  curl -i -H 'host: {host}' -H \"authorization: Bearer $(token {who})\" {front}{path}")
    say(f"  curl -i -H 'host: payments.example.com' {front}/v1/invoices")
    say(f"  curl -s http://127.0.0.1:{stage.admin}/metrics")
    say(f"\n  The people are in demo/people.json; configuration, logs and records in {stage.folder}")


def build() -> Path:
    """Builds both binaries; returns the folder they are in."""
    cargo = os.environ.get("CARGO", "cargo")
    say(dim("building stagedoor and devtenant"))
    subprocess.run(
        [cargo, "build", "--locked", "--quiet", "-p", "stagedoor", "-p", "devtenant"],
        cwd=ROOT, check=True,
    )
    metadata = subprocess.run(
        [cargo, "metadata", "--locked", "--no-deps", "--format-version", "1"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE,
    )
    return Path(json.loads(metadata.stdout)["target_directory"]) / "debug"


def find_envoy() -> str:
    found = subprocess.run([ROOT / "scripts" / "envoy"], check=True, stdout=subprocess.PIPE)
    return found.stdout.decode().strip()


def play(stage: Stage) -> int:
    """Makes every request; returns how many weren't answered as announced."""
    failed, told = 0, None
    for number, case in enumerate(CASES, start=1):
        stage.check_alive()
        answer = ask(stage, case)
        wrong = differences(case, answer)
        failed += bool(wrong)
        show(number, case, answer, wrong)
        if told is None and case.owners is not None:
            told = answer.body.get("decision_id")
    if told is not None:
        show_audit_record(stage, told)
    return failed


def main() -> int:
    # So that a `kill` ends what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binaries, envoy = build(), find_envoy()
    with Stage(binaries, envoy) as stage:
        try:
            stage.start()
            failed = play(stage)
            if failed:
                say("\n" + bad(f"{failed} of {len(CASES)} requests were not answered as announced"))
                stage.show_logs()
            else:
                say("\n" + good(f"All {len(CASES)} requests were answered as announced"))
            if KEEP:
                show_curl_lines(stage)
                while True:
                    stage.check_alive()
                    time.sleep(0.5)
            return 1 if failed else 0
        except (DemoError, OSError, ValueError, http.client.HTTPException) as error:
            say("\n" + bad(f"the demo stopped: {error}"))
            stage.show_logs()
            return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0 if KEEP else 130)
    except subprocess.CalledProcessError as error:
        print(f"`{' '.join(map(str, error.cmd))}` failed", file=sys.stderr)
        sys.exit(1)
