"""A package names everything of others inside it, as a CycloneDX document."""

import hashlib
import json
import re
import uuid
from datetime import datetime
from email.parser import HeaderParser
from pathlib import Path

_LOCKED = re.compile(r"^([A-Za-z0-9.-]+)==(\S+) \\$", re.MULTILINE)


def bill(
    package: str, version: str, made: datetime, lock: str, wheels: list[Path], site: Path
) -> str:
    """Return the bill of materials of ``package``, which has what ``lock`` names.

    ``wheels``: the files it was made of; ``site``: where they are unpacked, with their licences.
    """
    files = {_of_wheel(path): path for path in wheels}
    licences = dict(_licences(site))
    components = []
    for name, release in _LOCKED.findall(lock):
        digest = hashlib.sha256(files[name, release].read_bytes()).hexdigest()
        component: dict[str, object] = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{release}",
            "name": name,
            "version": release,
            "purl": f"pkg:pypi/{name}@{release}",
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
        if name in licences:
            component["licenses"] = [licences[name]]
        components.append(component)
    text = f"{package}_{version} {[component['hashes'] for component in components]}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": package,
                "name": package,
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": package, "dependsOn": [str(item["bom-ref"]) for item in components]}
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _of_wheel(path: Path) -> tuple[str, str]:
    name, version = path.name.split("-")[:2]
    return _normal(name), version


def _licences(site: Path) -> list[tuple[str, dict[str, object]]]:
    """Return name and licence of each package that states one, as CycloneDX has it."""
    found: list[tuple[str, dict[str, object]]] = []
    for path in sorted(site.glob("*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(path.read_text(encoding="utf-8", errors="replace"))
        expression = fields["License-Expression"]
        classes = [
            text.rpartition(" :: ")[2]
            for text in fields.get_all("Classifier") or []
            if text.startswith("License :: ")
        ]
        stated = (fields["License"] or "").strip().splitlines()
        names = classes or stated[:1]
        if expression:
            found.append((_normal(fields["Name"]), {"expression": expression}))
        elif names:
            found.append((_normal(fields["Name"]), {"license": {"name": names[0]}}))
    return found
