#!/usr/bin/env python3
"""Measures Stagedoor's crawl of a real Backstage with 20,000 entities: `make bench-backstage`.

Loading them takes Backstage some minutes. `SHARE=0.1` takes a tenth of them, and
STAGEDOOR_BINARIES another folder of binaries (such as a release build's).
"""

import json
import os
import resource
import signal
import statistics
import sys
import time

from generate import write
from model import Model, differences, shown
from run import configure, step
from stack import (
    INSTALLED, PROVIDER, TOKENS, CheckError, Stack, build, install, request, until,
)

PAGE_SIZES = [100, 200, 500, 1000, 5000]
ROUNDS = 5


def facets(stack: Stack) -> dict:
    """How many entities and relations there are, as Backstage counts them."""
    headers = {"authorization": f"Bearer {TOKENS['reader']}"}
    path = "/api/catalog/entity-facets?facet=kind&facet=relations.ownedBy&facet=relations.memberOf"
    answer = request(stack.backstage, path, headers)
    if answer.status != 200:
        raise OSError(f"entity-facets: {answer.status}")
    found = answer.json()["facets"]
    return {name: sum(value["count"] for value in values) for name, values in found.items()}


def loaded(stack: Stack, count: int, components: int):
    """Whether all entities are there, with their relations, and no more come."""
    last: dict = {}

    def whole() -> bool:
        nonlocal last
        stack.check_alive()
        now = facets(stack)
        steady, last = now == last, now
        time.sleep(2)
        # The Locations are entities too.
        return steady and now["kind"] >= count and now["relations.ownedBy"] == components

    return until("Backstage has everything", whole, 1800)


def crawls(stack: Stack) -> None:
    print("\npage size   crawl + compile + write, median (fastest to slowest)   CPU")
    out = stack.folder / "snapshot"
    for size in PAGE_SIZES:
        configure(stack, size)
        took, cpu = [], []
        for _ in range(ROUNDS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.monotonic()
            done = stack.stagedoor("snapshot", "fetch", "--config", stack.config, "--out", out)
            took.append(time.monotonic() - began)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            if done.returncode != 0:
                raise CheckError(f"`snapshot fetch` failed: {done.stderr}")
        print(f"{size:9}   {statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f})"
              f"   {statistics.median(cpu):.2f} s", flush=True)
    print(f"on disk: {out.stat().st_size / 1e6:.2f} MB")


def compare(stack: Stack) -> str:
    """the crawl says what Backstage's own API says, entity by entity"""
    done = stack.stagedoor("snapshot", "show", stack.folder / "snapshot", "--json")
    picture = Model(stack.entities(), PROVIDER, f"file:{stack.catalog}/org/").picture()
    wrong = differences(picture, shown(json.loads(done.stdout)))
    if wrong:
        raise CheckError(f"{len(wrong)} differ:\n  " + "\n  ".join(wrong[:10]))
    return f"{sum(map(len, picture.values()))} compared"


def serve(stack: Stack) -> str:
    """`serve` refreshes each second, for half a minute"""
    configure(stack, 500)
    stack.start_tenant()
    stack.start_stagedoor()
    process = stack.processes["stagedoor"].pid

    def refreshes() -> int:
        return stack.status()["refreshes"]

    def cpu() -> float:
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    first, used, began = refreshes(), cpu(), time.monotonic()
    until("30 refreshes", lambda: refreshes() >= first + 30, 300)
    count, spent = refreshes() - first, time.monotonic() - began
    with open(f"/proc/{process}/status") as file:
        peak = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    return (f"{count} refreshes in {spent:.1f} s, {(cpu() - used) / count * 1000:.0f} ms of CPU each, "
            f"at most {int(peak) / 1024:.0f} MiB resident")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    share = float(os.environ.get("SHARE", "1"))
    step("Backstage's packages are installed", install)
    binaries = step("stagedoor and devtenant are built", build)
    with Stack(binaries, INSTALLED / "bench") as stack:
        try:
            count = write(stack.catalog / "org", share)
            components = sum(
                file.read_text().count("kind: Component")
                for file in (stack.catalog / "org").glob("*.yaml")
            )
            stack.processing_seconds = 3600
            stack.start_backstage()
            step(f"Backstage has loaded {count} entities", lambda: loaded(stack, count, components))
            crawls(stack)
            step(str(compare.__doc__), lambda: compare(stack))
            step(str(serve.__doc__), lambda: serve(stack))
        except (CheckError, OSError) as error:
            print(f"\n{error}\nlogs are in {stack.folder}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
