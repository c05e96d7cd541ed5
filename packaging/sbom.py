"""Writes what is in the package as a CycloneDX 1.6 bill of materials, from the lock file.

The same lock file gives the same bytes: no clock and no random number goes in. Hashes are those
of the files that may be installed, as the lock file names them.

Source:
    CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/; package-url, type ``pypi``.
"""

import argparse
import json
import re
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from closure import entries, needed, target

ROOT = Path(__file__).parent.parent
EXTRAS = ("s3", "gs", "cuda", "mlx")


def component(name: str, text: str) -> list[dict[str, object]]:
    """One entry of the lock file; several where it has several versions.

    Args:
        name: Canonical.
        text: The entry, hashes included.
    """
    found: list[dict[str, object]] = []
    for part in re.split(r"(?m)^(?=\S)", text):
        versions = re.findall(r"==([^\s;\\]+)", part)
        if not versions:
            continue
        purl = f"pkg:pypi/{name}@{versions[0]}"
        digests = re.findall(r"--hash=sha256:([0-9a-f]{64})", part)
        files = [{"alg": "SHA-256", "content": digest} for digest in digests]
        url = f"https://pypi.org/project/{name}/{versions[0]}/"
        found.append(
            {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": versions[0],
                "purl": purl,
                "externalReferences": [{"type": "distribution", "url": url, "hashes": files}],
            }
        )
    return found


def bill(version: str, lock: str, names: Sequence[str]) -> dict[str, object]:
    """The whole document.

    Args:
        version: Of the package.
        lock: Text of the lock file.
        names: The distributions that the package needs, canonical and sorted.
    """
    locked = entries(lock)
    components = [one for name in names for one in component(name, locked[name])]
    text = json.dumps([version, components], sort_keys=True)
    own = f"pkg:pypi/poolhand@{version}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "poolhand",
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": [str(one["bom-ref"]) for one in components]}],
    }


def main() -> int:
    """Write the document; 1 if a distribution is not in the lock file."""
    parser = argparse.ArgumentParser(description="Write a CycloneDX bill of materials.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "poolhand.cdx.json")
    out = cast("Path", parser.parse_args().out)
    lock = (ROOT / "packaging" / "requirements.lock").read_text(encoding="utf-8")
    names = needed(EXTRAS, target(sys.executable))
    lost = [name for name in names if name not in entries(lock)]
    if lost:
        print(f"not in the lock file: {', '.join(lost)}", file=sys.stderr)
        return 1
    source = (ROOT / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'(?m)^__version__ = "(.+)"$', source)
    out.parent.mkdir(exist_ok=True)
    text = json.dumps(bill(version, lock, names), indent=1) + "\n"
    out.write_text(text, encoding="utf-8")
    print(f"{out}: {len(names)} distributions")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
