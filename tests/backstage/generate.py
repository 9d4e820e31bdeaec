#!/usr/bin/env python3
"""Writes a catalog of 20,000 entities as YAML files: generate.py FOLDER [SHARE]

500 groups in five trees five levels deep (one tree alone would have a root above everybody,
which grants nothing), 5,000 users in one to three of them, 14,500 components with an owner
each. The same files each time. SHARE (1.0) scales all three.
"""

import sys
from pathlib import Path
from typing import Iterator, List

GROUPS, USERS, COMPONENTS = 500, 5_000, 14_500
# Backstage reads a file as a whole, again and again.
DOCUMENTS_A_FILE = 1_000
TREES = 5
# Children a group.
BRANCHES = 3


def documents(share: float = 1.0) -> Iterator[str]:
    groups, users, components = (max(1, int(n * share)) for n in (GROUPS, USERS, COMPONENTS))
    for n in range(groups):
        parent = f", parent: team-{(n - TREES) // BRANCHES}" if n >= TREES else ""
        yield document("Group", f"name: team-{n}", f"type: team, children: []{parent}")
    for n in range(users):
        teams = sorted({n * k % groups for k in (1, 7, 11)[: 1 + n % 3]})
        member_of = ", ".join(f"team-{team}" for team in teams)
        yield document("User", f"name: person-{n}", f"memberOf: [{member_of}]")
    for n in range(components):
        kind, lifecycle = ("service", "library")[n % 2], ("production", "experimental")[n % 3 == 0]
        yield document(
            "Component", f"name: component-{n}, tags: [tag-{n % 17}, tag-{n % 29}]",
            f"type: {kind}, lifecycle: {lifecycle}, owner: team-{n * 13 % groups}",
        )


def document(kind: str, metadata: str, spec: str) -> str:
    return (
        f"apiVersion: backstage.io/v1alpha1\nkind: {kind}\n"
        f"metadata: {{ {metadata} }}\nspec: {{ {spec} }}\n"
    )


def write(folder: Path, share: float = 1.0) -> int:
    """Writes the files; returns how many entities are in them."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting: List[str] = []
    count = files = 0
    for text in documents(share):
        waiting.append(text)
        count += 1
        if len(waiting) == DOCUMENTS_A_FILE:
            flush(folder, files, waiting)
            files += 1
    flush(folder, files, waiting)
    return count


def flush(folder: Path, number: int, waiting: List[str]) -> None:
    if waiting:
        (folder / f"part-{number:03}.yaml").write_text("---\n".join(waiting))
        waiting.clear()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(write(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0))
