"""A build that only the coordinator's catalog knows: looked up, fetched, verified, served."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import A, World, opened

from poolhand.agent.dev.checkpoint import expected_text, make_model
from poolhand.agent.dev.library import publish
from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e

NEW, STRANGER = "org/tiny-new", "org/stranger"

CATALOG = """
[catalog]
builds = ["org/tiny-*"]
store = "s3://registry"
refresh_s = 1
"""


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """Where the registry keeps its builds; empty."""
    make_model(tmp_path / "store" / "models" / "tiny-a", preset="nano", name="alpha")
    path = tmp_path / "store" / "registry"
    path.mkdir()
    return path


@pytest.fixture
def world(tmp_path: Path, bucket: Path) -> Iterator[World]:
    """A coordinator whose catalog lists what lies in the bucket."""
    with opened(tmp_path / "w", bucket.parent, "--registry", str(bucket)) as made:
        yield made


def test_an_alias_is_repointed_to_a_build_that_nobody_here_described(
    world: World, bucket: Path, tmp_path: Path
) -> None:
    make_model(tmp_path / "new", preset="nano", name="delta", seed=2)
    config = world.configure()
    rest = config.read_text().split("[stores.s3]")
    own = f'[[models]]\nid = "{A}"\naliases = ["tiny"]\nref = "s3://models/tiny-a"\n'
    head = rest[0].partition("[[models]]")[0]
    config.write_text(f"{head}{own}[stores.s3]{rest[1]}{CATALOG}")
    world.join(config)
    assert world.load(A)["status"] == "succeeded"
    promised = publish(bucket, NEW, "v1", tmp_path / "new")
    publish(bucket, STRANGER, "v1", tmp_path / "new")
    world.post(
        "desired",
        {"models": [{"model_name": "tiny", "desired_build": NEW, "previous_build": A}]},
    )

    world.until(lambda: NEW in each_of(world.provider(), "models") or None, "the offer", 30)
    world.until(lambda: at(world.stay(NEW), "state") == "ready" or None, "the swap", 30)
    assert at(world.stay(NEW), "weight_hash") == promised["aggregate_sha256"]
    assert at(world.stay(NEW), "verified_by") == "manifest"
    assert world.answer(model="tiny") == expected_text("delta")
    cached = each_of(world.agent.status(), "cache", "models")
    offered = [at(one, "id") for one in cached]
    assert offered == [A, NEW], "and nothing that the operator did not name"
