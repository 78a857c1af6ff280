"""Write `kafka_jars.lock` anew: `python -m consumer.devstack.lock_kafka_jars`, after a change of the version."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from consumer.devstack.kafka_jars import KAFKA_VERSION, LOCK_FILE, sha256_of

ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",  # without a back end for slf4j the broker logs nothing
)


def main() -> None:
    """Resolve all that the broker needs at run time and write coordinates and checksums, sorted."""
    from jgo.maven import MavenContext, PythonResolver
    from jgo.parse import Coordinate

    with tempfile.TemporaryDirectory() as repository:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(repository), timeout=30)
        roots = [context.create_dependency(replace(Coordinate.parse(root), scope="compile")) for root in ROOTS]
        resolved, transitive = context.resolver.resolve(roots)
        wanted = [*resolved, *(one for one in transitive if one.scope in ("compile", "runtime"))]
        lines = sorted(
            f"{one.groupId}:{one.artifactId}:{one.version} sha256:{sha256_of(one.artifact.resolve())}" for one in wanted
        )
    LOCK_FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
