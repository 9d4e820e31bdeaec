"""What a snapshot must say, worked out from what Backstage's own API shows.

Written apart from Stagedoor and as plainly as can be, to be compared with it.
"""

from typing import Dict, Iterable, List, Optional, Set

GROUP_ID = "graph.microsoft.com/group-id"
USER_ID = "graph.microsoft.com/user-id"
TENANT_ID = "graph.microsoft.com/tenant-id"
LOCATION = "backstage.io/managed-by-location"


def ref(entity: dict) -> str:
    metadata = entity["metadata"]
    return f"{entity['kind']}:{metadata.get('namespace', 'default')}/{metadata['name']}".lower()


def annotation(entity: dict, name: str) -> str:
    return entity["metadata"].get("annotations", {}).get(name, "")


def targets(entity: dict, relation: str) -> List[str]:
    return sorted({r["targetRef"] for r in entity.get("relations", []) if r["type"] == relation})


class Model:
    """The picture, as `stagedoor snapshot show --json` prints it."""

    def __init__(self, raw: Iterable[dict], provider: str, trusted: str) -> None:
        self.provider, self.trusted_location = provider, trusted
        self.raw: Dict[str, dict] = {ref(entity): entity for entity in raw}
        self.groups = [e for e in self.raw.values() if e["kind"] == "Group"]
        self.users = [e for e in self.raw.values() if e["kind"] == "User"]
        principals = ("Group", "User", "Location")
        self.others = [e for e in self.raw.values() if e["kind"] not in principals]

    def picture(self) -> Dict[str, Dict[str, dict]]:
        return {
            "entities": {ref(e): self.entity(e) for e in self.others},
            "groups": {ref(e): self.group(e) for e in self.groups},
            "users": {ref(e): self.user(e) for e in self.users},
        }

    def entity(self, entity: dict) -> dict:
        spec = entity.get("spec", {})
        return {
            "type": spec.get("type"),
            "lifecycle": spec.get("lifecycle"),
            "tags": sorted(set(entity["metadata"].get("tags", []))),
            "owners": self.existing(targets(entity, "ownedBy"), ("Group", "User")),
            "part_of": self.existing(targets(entity, "partOf"), ("System", "Domain")),
        }

    def group(self, entity: dict) -> dict:
        return {
            "title": title(entity),
            "id": self.id(entity, GROUP_ID),
            "parents": self.believed(entity, "childOf"),
            "ancestors": sorted(self.above(entity)),
        }

    def user(self, entity: dict) -> dict:
        return {
            "title": title(entity),
            "id": self.id(entity, USER_ID),
            "member_of": self.believed(entity, "memberOf"),
        }

    def existing(self, refs: List[str], kinds: Iterable[str]) -> List[str]:
        return [r for r in refs if r in self.raw and self.raw[r]["kind"] in kinds]

    def trusts(self, entity: dict) -> bool:
        location = annotation(entity, LOCATION)
        return location.startswith((f"msgraph:{self.provider}/", self.trusted_location))

    def id(self, entity: dict, name: str) -> Optional[str]:
        """The Entra id, if it is believed, and of no other entity as well."""
        id = self.believed_id(entity, name)
        of_kind = self.groups if entity["kind"] == "Group" else self.users
        claims = [other for other in of_kind if id and self.believed_id(other, name) == id]
        return id if len(claims) == 1 else None

    def believed_id(self, entity: dict, name: str) -> Optional[str]:
        """The id, if whoever wrote it is believed about this very object."""
        id, location = annotation(entity, name).lower(), annotation(entity, LOCATION)
        own = location == f"msgraph:{self.provider}/{id}"
        return id if id and (own or location.startswith(self.trusted_location)) else None

    def believed(self, entity: dict, relation: str) -> List[str]:
        """Edges between two that are both believed: either could have written it."""
        if not self.trusts(entity):
            return []
        groups = self.existing(targets(entity, relation), ("Group",))
        return [group for group in groups if self.trusts(self.raw[group])]

    def is_root(self, entity: dict) -> bool:
        return entity["spec"]["type"] == "root" or bool(annotation(entity, TENANT_ID))

    def above(self, entity: dict) -> Set[str]:
        """All groups above, as far as none is the directory's root."""
        found: Set[str] = set()
        waiting = [] if self.is_root(entity) else self.believed(entity, "childOf")
        while waiting:
            group = waiting.pop()
            if group not in found and not self.is_root(self.raw[group]):
                found.add(group)
                waiting += self.believed(self.raw[group], "childOf")
        return found


def title(entity: dict) -> str:
    display = entity.get("spec", {}).get("profile", {}).get("displayName")
    return display or entity["metadata"].get("title") or entity["metadata"]["name"].lower()


def shown(document: dict) -> Dict[str, Dict[str, dict]]:
    """What `stagedoor snapshot show --json` printed, in the same form."""
    picture: Dict[str, Dict[str, dict]] = {}
    for part in ("entities", "groups", "users"):
        picture[part] = {}
        for item in document[part]:
            item = dict(item)
            picture[part][item.pop("ref")] = item
    return picture


def differences(expected: dict, got: dict) -> List[str]:
    """Each thing that one says and the other does not."""
    found = []
    for part, wanted in expected.items():
        for name in sorted(set(wanted) | set(got[part])):
            if name not in got[part]:
                found.append(f"{name} is missing in {part}")
            elif name not in wanted:
                found.append(f"{name} should not be in {part}")
            else:
                for member, value in wanted[name].items():
                    has = got[part][name].get(member)
                    if isinstance(has, list):
                        has = sorted(has)
                    if has != value:
                        found.append(f"{name} {member}: Backstage says {value!r}, Stagedoor {has!r}")
    return found
