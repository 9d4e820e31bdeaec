#!/usr/bin/env python3
"""Shows that Stagedoor decides by what a real Backstage says: `make test-backstage`.

Installs Backstage's packages as the lock file pins them (into target/backstage, once),
starts a backend with the catalog in this folder and with Microsoft Graph's module reading
the development tenant, and holds Stagedoor against it. What ran is in
target/backstage/run: configuration and logs.

Needs Python 3.9, Node 20 or newer with npm, a C++ compiler for one package, and cargo.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Set

import model
from asking import Asking, Question
from model import GROUP_ID, Model, annotation, ref, targets
from stack import (
    HERE, INSTALLED, PROVIDER, REFRESH_EVERY, TOKENS, CheckError, Stack, build, install, until,
)

# The ids of people.json.
COLLAPSED = {
    "a0000000-0000-4000-8000-000000000001": "ada",
    "a0000000-0000-4000-8000-000000000002": "bob",
}
ORDERS = "a0000000-0000-4000-8000-000000000004"
# What a refresh may take beyond its interval: the crawl, and others on the same machine.
MARGIN = 2.0


def require(holds: object, what: str) -> None:
    if not holds:
        raise CheckError(what)


def same(what: str, expected: object, got: object) -> None:
    require(expected == got, f"{what}: expected {expected!r}, got {got!r}")


class Checks:
    """The checks, in the order in which they are made."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.tokens: Dict[str, str] = {}

    def crawl(self) -> str:
        """a crawl says what Backstage's own API says, entity by entity"""
        raw = self.stack.entities()
        out = self.stack.folder / "snapshot"
        done = self.stack.stagedoor("snapshot", "fetch", "--config", self.stack.config, "--out", out)
        same("exit code of `snapshot fetch`", (0, ""), (done.returncode, done.stderr))
        done = self.stack.stagedoor("snapshot", "show", out, "--json")
        same("exit code of `snapshot show`", (0, ""), (done.returncode, done.stderr))
        document = json.loads(done.stdout)
        # Nothing may have changed in between.
        same("the API's refs after the crawl", refs(raw), refs(self.stack.entities()))
        picture = Model(raw, PROVIDER, f"file:{self.stack.catalog}/org/").picture()
        wrong = model.differences(picture, model.shown(document))
        require(not wrong, "they differ:\n  " + "\n  ".join(wrong))
        for part, least in [("entities", 20), ("groups", 10), ("users", 8)]:
            require(len(picture[part]) >= least, f"too few {part} to show anything")
        same("version of `serve`", document["version"], self.stack.status()["version"])
        counts = ", ".join(f"{len(items)} {part}" for part, items in picture.items())
        return f"{counts}; version {document['version']}"

    def graph(self) -> str:
        """the Microsoft Graph module's entities bind as they should"""
        raw = {ref(entity): entity for entity in self.stack.entities()}
        for name in ["orders", "refunds", "payments_billing", "contoso"]:
            require(f"group:default/{name}" in raw, f"Backstage has no group `{name}`")
        require("user:default/dora_contoso.example" not in raw, "a disabled user is there")
        require("group:default/all_staff" not in raw, "`group.filter` had no effect")
        require("group:default/all-staff" not in raw, "`group.filter` had no effect")
        self.expect([
            ("tomas", "orders", 200), ("tomas", "payments", 403), ("tomas", "toms-tool", 200),
            ("ravi", "refunds", 200), ("ravi", "orders", 403),
            ("lena", "portal", 200), ("lena", "orders", 403),
            ("sam", "orders", 403), ("sam", "toms-tool", 403),
            # What the directory's root owns is nobody's.
            ("tomas", "everything", 403), ("ravi", "everything", 403), ("ada", "everything", 403),
            # The name of the group can't be in the catalog.
            ("emile", "network", 403),
            # Refs without a namespace are in that of the entity that names them.
            ("tomas", "odd", 403),
        ])
        return "groups by id, a person, the root, a name that can't be one"

    def collapse(self) -> str:
        """two Azure groups under one name: the one that the entity names is in, the other not"""
        winner = annotation(self.stack.entity("group", "payments_billing") or {}, GROUP_ID)
        require(winner in COLLAPSED, f"`payments_billing` has the id `{winner}`")
        inside = COLLAPSED[winner]
        outside = next(name for id, name in COLLAPSED.items() if id != winner)
        # Backstage itself has put the members of both together.
        for mail in ["ada_contoso.example", "bob_contoso.example"]:
            user = self.stack.entity("user", mail) or {}
            memberships = targets(user, "memberOf")
            require("group:default/payments_billing" in memberships, f"{mail} is in {memberships}")
        self.expect([
            (inside, "payments", 200), (inside, "billing-ui", 200),
            (outside, "payments", 403), (outside, "billing-ui", 403),
            # A group below it, in the one as in the other.
            ("ravi", "payments", 200),
        ])
        return f"{inside}'s group won, {outside} is denied"

    def forged(self) -> str:
        """ids, members, parents and locations that a stranger wrote count for nothing"""
        for name in ["intruders", "usurpers", "pretenders", "wedge"]:
            require(self.stack.entity("group", name), f"Backstage has no group `{name}`")
        shown = annotation(self.stack.entity("group", "intruders") or {}, GROUP_ID)
        same("the id that Backstage shows", ORDERS, shown)
        self.expect([
            ("tomas", "intruded", 403), ("lena", "intruded", 403), ("ravi", "intruded", 403),
            ("sam", "intruded", 403), ("sam", "orders", 403), ("sam", "mallorys", 403),
            ("ada", "usurped", 403), ("bob", "usurped", 403),
            ("ada", "pretended", 403), ("bob", "pretended", 403),
            # Nor does a forged id take the group's own away.
            ("tomas", "orders", 200),
        ])
        done = self.stack.stagedoor("snapshot", "show", self.stack.folder / "snapshot", "--json")
        findings = {(f["entity"], f["kind"]) for f in json.loads(done.stdout)["findings"]}
        for finding in [
            ("group:default/intruders", "untrusted"), ("group:default/usurpers", "untrusted"),
            ("group:default/pretenders", "untrusted"), ("user:default/mallory", "untrusted"),
            ("component:default/network", "dangling"), ("component:default/odd", "dangling"),
            # Two that are both believed claim to be Lena: neither is.
            ("user:default/lena", "ambiguous"), ("user:default/lena_contoso.example", "ambiguous"),
            ("component:retail/elsewhere", "dangling"), ("group:default/contoso", "root"),
        ]:
            require(finding in findings, f"no finding {finding}: {sorted(findings)}")
        return f"{len(findings)} findings"

    def edit(self) -> str:
        """an owner edited in YAML decides within one refresh of Backstage showing it"""
        file = self.stack.catalog / "apps" / "ledger.yaml"
        took = []
        for old, new, was, becomes in [
            ("refunds", "orders", "ravi", "tomas"), ("orders", "refunds", "tomas", "ravi"),
        ]:
            self.expect([(was, "ledger", 200), (becomes, "ledger", 403)])
            text = file.read_text()
            require(f"owner: {old}," in text, f"{file} has no `owner: {old},`")
            began = time.monotonic()
            self.stack.write(file, text.replace(f"owner: {old},", f"owner: {new},"))
            owned = [f"group:default/{new}"]

            def shown() -> bool:
                # Until Backstage has shown it, it decides nothing.
                early = self.status_of(becomes, "ledger") == 200
                entity = self.stack.entity("component", "ledger") or {}
                after = targets(entity, "ownedBy") == owned
                require(after or not early, "decided by an owner whom Backstage does not show yet")
                return after

            until("Backstage shows the new owner", shown)
            visible = time.monotonic()
            limit = REFRESH_EVERY + MARGIN
            until(
                f"{becomes} is let in and {was} is not",
                lambda: (self.status_of(becomes, "ledger"), self.status_of(was, "ledger"))
                == (200, 403),
                limit,
            )
            took.append((visible - began, time.monotonic() - visible))
        return "; ".join(f"shown after {a:.1f} s, decided {b:.2f} s later" for a, b in took)

    def tokens_of_backstage(self) -> str:
        """a restricted and a wrong token are named, and the old snapshot serves on"""
        told = []
        for token, code, words in [
            ("empty", "empty", "200 with no entities"),
            ("wrong", "unauthorized", "401"),
            ("elsewhere", "forbidden", "403"),
        ]:
            before = self.stack.status()
            self.stack.give_token(token)

            def named() -> bool:
                return (self.stack.status()["last_error"] or {}).get("code") == code

            until(f"the status says `{code}`", named)
            now = self.stack.status()
            same("version", before["version"], now["version"])
            require(words in now["last_error"]["message"], f"the status says {now['last_error']}")
            log = (self.stack.folder / "stagedoor.log").read_text()
            require(words in log, f"the log doesn't say `{words}`")
            self.expect([("tomas", "orders", 200), ("sam", "orders", 403)])
            out = self.stack.folder / "never"
            done = self.stack.stagedoor(
                "snapshot", "fetch", "--config", self.stack.config, "--out", out,
            )
            same("exit code of `snapshot fetch`", 1, done.returncode)
            require(words in done.stderr, f"`snapshot fetch` says: {done.stderr}")
            require(not out.exists(), "a failed crawl left a file")
            told.append(code)
        self.stack.give_token("reader")
        until("the catalog is read again", lambda: self.stack.status()["last_error"] is None)
        return ", ".join(told)

    def restart(self) -> str:
        """a restart of Backstage, from nothing to everything, lets no wrong answer out"""
        before = len(self.stack.entities())
        # Nobody of the two groups under one name: another one may win this time.
        questions = [
            ("tomas", "orders", 200), ("tomas", "payments", 403), ("ravi", "payments", 200),
            ("tomas", "toms-tool", 200), ("lena", "portal", 200), ("lena", "payments", 403),
            ("sam", "orders", 403), ("tomas", "intruded", 403), ("sam", "everything", 403),
        ]
        held: Set[str] = set()
        with Asking(self.stack, [self.question(*question) for question in questions]) as asking:
            asking.rounds(3)
            failures = self.failures()
            self.stack.stop("backstage")
            until("Stagedoor has noticed", lambda: self.failures() > failures)
            asking.rounds(3)
            # For a while there are all files and no team, as after every restart: the
            # module's own default is to wait 15 s.
            self.stack.start_backstage(graph_delay=8)
            seen: List[int] = []

            def whole() -> bool:
                self.stack.check_alive()
                seen.append(len(self.stack.entities()))
                held.update((self.stack.status()["held"] or {}).get("examples", []))
                return seen[-1] == before

            until("Backstage has everything again", whole)
            # What was rebuilt has other uids: it counts anew after so many crawls.
            self.crawled(2)
            until("nothing is held back and the catalog is read", self.settled)
            asking.rounds(3)
        wrong = asking.wrong()
        require(not wrong, f"{len(wrong)} of {asking.count} answers were wrong:\n  "
                + "\n  ".join(wrong[:10]))
        require(asking.unanswered * 100 <= asking.count,
                f"Envoy had no answer {asking.unanswered} of {asking.count} times")
        orphaned = "owner_removed component:default/orders group:default/orders"
        require(orphaned in held, f"held back was {sorted(held)}")
        steps = sorted(set(seen))
        require(len(steps) > 1, f"Backstage was never seen growing: {steps}")
        return (f"{asking.count} answers, none wrong, {asking.unanswered} not given by Stagedoor; "
                f"Backstage had {', '.join(map(str, steps))} entities")

    def secrets(self) -> str:
        """no token is in Stagedoor's log"""
        log = (self.stack.folder / "stagedoor.log").read_text()
        for secret in [*TOKENS.values(), *self.tokens.values()]:
            require(secret not in log, "a token is in the log")
        return f"{len(log.splitlines())} lines"

    def crawled(self, more: int) -> None:
        """Waits for so many crawls more that went well."""
        goal = self.stack.status()["refreshes"] + more
        until(f"{more} more crawls", lambda: self.stack.status()["refreshes"] >= goal)

    def failures(self) -> int:
        """How many crawls have failed, whatever the reason."""
        return sum(self.stack.status()["failures"].values())

    def settled(self) -> bool:
        status = self.stack.status()
        findings = status["findings"].get("moved", 0)
        return status["held"] is None and not findings and status["last_error"] is None

    def question(self, person: str, component: str, status: int) -> Question:
        if person not in self.tokens:
            self.tokens[person] = self.stack.token_of(person)
        host = f"{component}.apps.example.com"
        return Question(person, self.tokens[person], host, status)

    def status_of(self, person: str, component: str) -> int:
        question = self.question(person, component, 0)
        return self.stack.ask(question.token, question.host).status

    def expect(self, cases) -> None:
        for person, component, status in cases:
            same(f"{person} asks for {component}", status, self.status_of(person, component))


def refs(raw: List[dict]) -> List[str]:
    return sorted(map(ref, raw))


def prepare(stack: Stack) -> None:
    """Writes what the processes read: the catalog, the token, the configuration."""
    for file in sorted((HERE / "catalog").glob("*/*.yaml")):
        copy = stack.catalog / file.relative_to(HERE / "catalog")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text())
    configure(stack, page_size=5)


def configure(stack: Stack, page_size: int) -> None:
    stack.give_token("reader")
    config = (HERE / "stagedoor.yaml").read_text()
    for name, value in [
        ("GRPC", stack.grpc), ("ADMIN", stack.admin), ("TENANT", stack.tenant),
        ("BACKSTAGE", stack.backstage), ("FOLDER", stack.folder), ("PAGE_SIZE", page_size),
    ]:
        config = config.replace(f"@{name}@", str(value))
    stack.config.write_text(config)


def whole(stack: Stack) -> bool:
    """Whether Backstage has read everything: the same at two looks, both sources in it."""
    stack.check_alive()
    entities = {ref(entity): entity for entity in stack.entities()}
    expected = [
        "component:default/mallorys", "component:default/ledger", "component:retail/elsewhere",
        "group:default/payments_billing", "user:default/lena", "domain:default/commerce",
    ]
    if not all(name in entities for name in expected):
        return False
    wanted = {
        "component:default/ledger": ("ownedBy", "group:default/refunds"),
        "component:default/payments": ("ownedBy", "group:default/payments_billing"),
        "group:default/refunds": ("childOf", "group:default/payments_billing"),
        "group:default/portal": ("childOf", "group:default/platform"),
    }
    for name, (relation, target) in wanted.items():
        if target not in targets(entities[name], relation):
            return False
    again = {ref(entity): entity for entity in stack.entities()}
    return again == entities


def step(name: str, work: Callable[[], object]):
    """Does something and says how long it took."""
    began = time.monotonic()
    try:
        result = work()
    except CheckError:
        print(f"WRONG  {time.monotonic() - began:6.1f} s  {name}", flush=True)
        raise
    print(f"ok     {time.monotonic() - began:6.1f} s  {name}", flush=True)
    if isinstance(result, str):
        print(f"                 {result}", flush=True)
    return result


def main() -> int:
    # So that a `kill` ends what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    step("Backstage's packages are installed", install)
    binaries: Path = step("stagedoor and devtenant are built", build)
    with Stack(binaries, INSTALLED / "run") as stack:
        try:
            prepare(stack)
            step("the development tenant is ready", lambda: bool(stack.start_tenant()))
            stack.start_backstage()
            step("Backstage has everything", lambda: until("it has", lambda: whole(stack)))
            step("Stagedoor and Envoy are ready",
                 lambda: (stack.start_stagedoor(), stack.start_envoy()))
            checks = Checks(stack)
            for check in [
                checks.crawl, checks.graph, checks.collapse, checks.forged, checks.edit,
                checks.tokens_of_backstage, checks.restart, checks.secrets,
            ]:
                step(str(check.__doc__), check)
        except (CheckError, OSError) as error:
            print(f"\n{error}\nlogs are in {stack.folder}", flush=True)
            return 1
    print(f"all is as it should be, in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
