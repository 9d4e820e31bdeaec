"""The processes that the checks run against, and the folder they run in.

A development tenant (with Microsoft Graph), a real Backstage backend, Stagedoor, and an
Envoy in front of a small service; on loopback, on ports that are free.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INSTALLED = ROOT / "target" / "backstage"
TENANT_ID = "7a3e9c14-52d0-4f6b-8b1e-9d2f60c4a815"
# The id that the Microsoft Graph provider has in app-config.graph.yaml.
PROVIDER = "contoso"

# Tokens of Backstage, by what they are good for.
TOKENS = {
    "reader": "reader-of-the-catalog-0123456789",
    "empty": "restricted-to-locations-0123456789",
    "elsewhere": "restricted-to-scaffolder-0123456789",
    "wrong": "nobody-knows-this-one-0123456789",
}

# How long something may take that needs no time of its own, on a busy machine.
DEADLINE = 120.0
REFRESH_EVERY = 1.0


class CheckError(Exception):
    """What is not as it should be, in words for the person at the terminal."""


class Answer(NamedTuple):
    status: int
    headers: Dict[str, str]
    body: bytes

    def json(self) -> dict:
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def request(port: int, path: str, headers: Optional[Dict[str, str]] = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


def until(what: str, found: Callable[[], object], seconds: float = DEADLINE):
    """Asks until there is something, and returns it."""
    deadline = time.monotonic() + seconds
    last: object = "nothing"
    while True:
        try:
            value = found()
            if value:
                return value
        except (OSError, http.client.HTTPException) as error:
            last = error
        if time.monotonic() > deadline:
            raise CheckError(f"{what}: not within {seconds:.0f} s (last: {last})")
        time.sleep(0.05)


def install() -> None:
    """Installs Backstage's packages as the lock file names them, once."""
    files = ["package.json", "package-lock.json", ".npmrc"]
    node = subprocess.run(
        ["node", "-p", "JSON.stringify([process.version, process.execPath])"],
        check=True, stdout=subprocess.PIPE,
    )
    version, program = json.loads(node.stdout)
    digest = hashlib.sha256(version.encode())
    for name in files:
        digest.update((HERE / name).read_bytes())
    stamp = INSTALLED / "installed"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    INSTALLED.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for name in files:
        shutil.copyfile(HERE / name, INSTALLED / name)
    # What is compiled here needs no binary from elsewhere.
    environment = {**os.environ, "npm_config_build_from_source": "true"}
    # Node's own headers, where they are there; otherwise npm fetches them.
    prefix = Path(program).resolve().parent.parent
    if (prefix / "include" / "node" / "node.h").exists():
        environment["npm_config_nodedir"] = str(prefix)
    with open(INSTALLED / "install.log", "wb") as log:
        for command in [
            # No script of eight hundred packages runs, but one.
            ["npm", "ci", "--omit=optional", "--ignore-scripts"],
            ["npm", "rebuild", "better-sqlite3", "--ignore-scripts=false"],
        ]:
            done = subprocess.run(
                command, cwd=INSTALLED, env=environment, stdout=log, stderr=subprocess.STDOUT,
            )
            if done.returncode != 0:
                raise CheckError(f"`{' '.join(command)}` failed: see {INSTALLED / 'install.log'}")
    stamp.write_text(digest.hexdigest())


def build() -> Path:
    """Builds both binaries; returns the folder they are in. STAGEDOOR_BINARIES names a
    folder with finished ones instead."""
    ready = os.environ.get("STAGEDOOR_BINARIES")
    if ready:
        return Path(ready)
    cargo = os.environ.get("CARGO", "cargo")
    subprocess.run(
        [cargo, "build", "--locked", "--quiet", "-p", "stagedoor", "-p", "devtenant"],
        cwd=ROOT, check=True,
    )
    metadata = subprocess.run(
        [cargo, "metadata", "--locked", "--no-deps", "--format-version", "1"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE,
    )
    return Path(json.loads(metadata.stdout)["target_directory"]) / "debug"


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


class Stack:
    """Everything that runs; ended when left."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.binaries = binaries
        self.folder = folder
        self.catalog = folder / "catalog"
        self.processes: Dict[str, subprocess.Popen] = {}
        self.graph: Optional[dict] = None
        self.processing_seconds = 2
        (self.tenant, self.service, self.backstage, self.grpc, self.admin, self.front,
         self.envoy_admin) = free_ports(7)

    def __enter__(self) -> "Stack":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self.processes)):
            self.stop(name)

    def start_tenant(self) -> None:
        """Starts the tenant with the people of people.json. Graph gives two objects a
        page, so that every list has several."""
        self.spawn(
            "devtenant",
            [self.binaries / "devtenant", "serve",
             "--tenant-listen", f"127.0.0.1:{self.tenant}",
             "--service-listen", f"127.0.0.1:{self.service}",
             "--tenant-id", TENANT_ID, "--people", HERE / "people.json", "--graph-page", "2"],
        )

        def ready() -> Optional[dict]:
            lines = (self.folder / "devtenant.log").read_text().splitlines()
            return json.loads(lines[0]) if lines else None

        self.graph = self.wait("devtenant", ready)

    def start_backstage(self, graph_delay: int = 0) -> None:
        """Starts the backend; it may not be ready yet. Microsoft Graph is read after so many
        seconds."""
        shutil.copyfile(HERE / "index.js", INSTALLED / "index.js")
        configs = ["--config", HERE / "app-config.yaml"]
        environment = {
            **os.environ,
            "NODE_ENV": "production",
            "LOG_LEVEL": "info",
            "BACKSTAGE_PORT": str(self.backstage),
            "CATALOG_FOLDER": str(self.catalog),
            "PROCESSING_SECONDS": str(self.processing_seconds),
            "TOKEN_READER": TOKENS["reader"],
            "TOKEN_EMPTY": TOKENS["empty"],
            "TOKEN_ELSEWHERE": TOKENS["elsewhere"],
        }
        if self.graph is not None:
            configs += ["--config", HERE / "app-config.graph.yaml"]
            environment.update({
                "GRAPH_URL": self.graph["graph"],
                "GRAPH_DELAY_SECONDS": str(graph_delay),
                "TENANT_ID": TENANT_ID,
                # How the module's credential is found, as in App Service.
                "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
                "IDENTITY_ENDPOINT": self.graph["identity_endpoint"],
                "IDENTITY_HEADER": self.graph["identity_header"],
            })
        self.spawn("backstage", ["node", "index.js", *configs], cwd=INSTALLED, env=environment)

    def start_stagedoor(self) -> None:
        self.spawn(
            "stagedoor", [self.binaries / "stagedoor", "serve", "--config", self.config],
        )
        self.wait("stagedoor", lambda: request(self.admin, "/ready").status == 200)

    def start_envoy(self) -> None:
        found = subprocess.run([ROOT / "scripts" / "envoy"], check=True, stdout=subprocess.PIPE)
        config = (ROOT / "envoy" / "tcp.yaml").read_text()
        ports = {8080: self.front, 8081: self.service, 9191: self.grpc, 9901: self.envoy_admin}

        def other(match: "re.Match[str]") -> str:
            return f"{{ address: 127.0.0.1, port_value: {ports[int(match.group(1))]} }}"

        pattern = r"\{ address: 127\.0\.0\.1, port_value: (\d+) \}"
        config, count = re.subn(pattern, other, config)
        if count != len(ports):
            raise CheckError(f"envoy/tcp.yaml should have {len(ports)} addresses, and has {count}")
        file = self.folder / "envoy.yaml"
        file.write_text(config)
        self.spawn("envoy", [
            found.stdout.decode().strip(), "--config-path", file,
            "--disable-hot-restart", "--concurrency", "1",
        ])
        self.wait("envoy", lambda: request(self.envoy_admin, "/ready").status == 200)

    @property
    def config(self) -> Path:
        return self.folder / "stagedoor.yaml"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    def give_token(self, token: str) -> None:
        """Has Stagedoor show this token to Backstage from its next crawl on."""
        self.write(self.token_file, TOKENS[token])

    def write(self, file: Path, text: str) -> None:
        """Nobody sees half of it."""
        beside = file.with_name(file.name + ".new")
        beside.write_text(text)
        beside.rename(file)

    def spawn(self, name: str, command: List[object], **options: object) -> None:
        # A second start goes on in the first one's log.
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                # Not ours to share: a Ctrl-C reaches us, and we end them in order.
                start_new_session=True, **options,
            )

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait(self, name: str, ready: Callable[[], object]):
        def alive_and_ready() -> object:
            self.check_alive()
            return ready()

        return until(f"{name} is ready", alive_and_ready)

    def check_alive(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise CheckError(f"{name} ended by itself, with {process.returncode}")

    def entities(self) -> List[dict]:
        """All that Backstage's own API shows, whole and in one answer."""
        headers = {"authorization": f"Bearer {TOKENS['reader']}"}
        answer = request(self.backstage, "/api/catalog/entities", headers)
        if answer.status != 200:
            raise OSError(f"/api/catalog/entities: {answer.status}")
        return json.loads(answer.body)

    def entity(self, kind: str, name: str, namespace: str = "default") -> Optional[dict]:
        """One entity, as Backstage's own API shows it."""
        headers = {"authorization": f"Bearer {TOKENS['reader']}"}
        path = f"/api/catalog/entities/by-name/{kind}/{namespace}/{quote(name)}"
        answer = request(self.backstage, path, headers)
        return answer.json() if answer.status == 200 else None

    def status(self) -> dict:
        """What Stagedoor's admin port says of the catalog."""
        return request(self.admin, "/status").json()["catalog"]

    def token_of(self, person: str) -> str:
        answer = request(self.tenant, f"/dev/token?as={quote(person)}")
        if answer.status != 200:
            raise CheckError(f"no token for {person}: {answer.status}")
        return answer.body.decode().strip()

    def ask(self, token: str, host: str) -> Answer:
        """One request through Envoy."""
        headers = {"host": host, "authorization": f"Bearer {token}"}
        return request(self.front, "/v1/anything", headers)

    def stagedoor(self, *words: object) -> "subprocess.CompletedProcess[str]":
        """Runs a command of Stagedoor's."""
        return subprocess.run(
            [str(self.binaries / "stagedoor"), *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, timeout=DEADLINE,
        )
