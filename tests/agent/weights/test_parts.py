"""Files on the disk: room first, claims held against what is there, final names last."""

import os
from pathlib import Path

import pytest

from poolhand.agent.weights import parts
from poolhand.agent.weights.journal import Claims, Header, Listed, Seal, nothing
from poolhand.agent.weights.parts import Part, Target, prepare, sweep
from poolhand.agent.weights.plan import Grid
from poolhand.agent.weights.record import Fingerprint
from poolhand.agent.weights.verify import fingerprint
from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import DiskFull

GRID = Grid(4, 8)


def target(path: str = "sub/f", size_bytes: int = 10, sha256: str | None = None) -> Target:
    return Target(RemoteFile(path, size_bytes, None, path), sha256)


def claims_of(*targets: Target, have: bytes = b"") -> Claims:
    files = tuple(
        Listed(path=one.remote.path, size_bytes=one.remote.size_bytes, etag=None) for one in targets
    )
    claims = nothing(Header(ref="s3://b", boot_id="x", block_bytes=4, files=files))
    for claim in claims.files:
        if have:
            claim.have[:] = have
    return claims


def one_part(folder: Path, claims: Claims, wanted: Target) -> Part:
    (part,) = prepare(folder, [wanted], claims, GRID)
    return part


def test_room_is_made_before_the_first_byte(tmp_path: Path) -> None:
    part = one_part(tmp_path, claims_of(target()), target())
    found = part.path.stat()
    assert (found.st_size, found.st_blocks > 0) == (10, True)
    assert not part.final.exists()


def test_no_room_is_told_before_anything_is_allocated(tmp_path: Path) -> None:
    wanted = target(size_bytes=2**62)
    big = Grid(2**50, 2**50)
    with pytest.raises(DiskFull):
        _ = prepare(tmp_path, [wanted], claims_of(target()), big)
    assert list((tmp_path / ".partial").iterdir()) == []


def test_an_empty_file_needs_no_room(tmp_path: Path) -> None:
    wanted = target(size_bytes=0)
    part = one_part(tmp_path, claims_of(wanted), wanted)
    assert os.fstat(part.open()[0]).st_size == 0
    part.close()


def test_a_file_of_one_block_is_made_when_it_is_opened(tmp_path: Path) -> None:
    wanted = target(size_bytes=4)
    part = one_part(tmp_path, claims_of(wanted), wanted)
    assert not part.path.exists()
    _ = part.path.write_bytes(b"longer, from another time")
    part = one_part(tmp_path, claims_of(wanted), wanted)
    assert os.fstat(part.open()[0]).st_size == 0
    part.close()


def test_claims_hold_while_the_part_is_there(tmp_path: Path) -> None:
    _ = one_part(tmp_path, claims_of(target()), target())
    again = one_part(tmp_path, claims_of(target(), have=b"\1\0\1"), target())
    assert again.have == b"\1\0\1"


@pytest.mark.parametrize("damage", ["gone", "short", "link"])
def test_claims_about_a_part_that_is_not_there_are_dropped(tmp_path: Path, damage: str) -> None:
    part = one_part(tmp_path, claims_of(target()), target())
    outside = tmp_path / "outside"
    _ = outside.write_bytes(b"0123456789")
    if damage == "short":
        os.truncate(part.path, 9)
    else:
        part.path.unlink()
    if damage == "link":
        part.path.symlink_to(outside)
    again = one_part(tmp_path, claims_of(target(), have=b"\1\1\1"), target())
    assert again.have == bytes(3)
    assert not again.path.is_symlink()
    assert outside.read_bytes() == b"0123456789"


def test_killed_between_rename_and_its_line(tmp_path: Path) -> None:
    final = tmp_path / "sub" / "f"
    final.parent.mkdir()
    _ = final.write_bytes(b"0123456789")
    part = one_part(tmp_path, claims_of(target(), have=b"\1\1\1"), target())
    assert part.have == b"\1\1\1"
    assert part.path.read_bytes() == b"0123456789"
    assert not final.exists(), "not final until its digest is known again"


def sealed_claims(mark: Fingerprint, sha256: str = "ab" * 32) -> Claims:
    claims = claims_of(target(), have=b"\1\1\1")
    claims.files[0].seal = Seal(sha256, mark)
    return claims


def finished(folder: Path) -> Fingerprint:
    final = folder / "sub" / "f"
    final.parent.mkdir()
    _ = final.write_bytes(b"0123456789")
    mark = fingerprint(final)
    assert mark is not None
    return mark


def test_a_sealed_file_is_left_alone(tmp_path: Path) -> None:
    mark = finished(tmp_path)
    part = one_part(tmp_path, sealed_claims(mark), target())
    assert part.seal == Seal("ab" * 32, mark)
    assert not part.path.exists()


def test_a_seal_with_another_digest_than_promised_is_broken(tmp_path: Path) -> None:
    mark = finished(tmp_path)
    part = one_part(tmp_path, sealed_claims(mark), target(sha256="cd" * 32))
    assert part.seal is None


def test_a_seal_of_a_file_that_was_touched_is_broken(tmp_path: Path) -> None:
    mark = finished(tmp_path)
    os.utime(tmp_path / "sub" / "f", ns=(1, 1))
    part = one_part(tmp_path, sealed_claims(mark), target())
    assert part.seal is None
    assert part.path.read_bytes() == b"0123456789", "its bytes are digested again, not fetched"


def test_finishing_gives_the_final_name(tmp_path: Path) -> None:
    part = one_part(tmp_path, claims_of(target()), target())
    fd, _ = part.open()
    assert os.pwrite(fd, b"0123456789", 0) == 10
    seal = part.finish("ab" * 32)
    assert part.final.read_bytes() == b"0123456789"
    assert seal.fingerprint == fingerprint(part.final)
    assert not part.path.exists()
    part.close()
    part.sync()


def test_what_an_earlier_process_wrote_is_synced_too(tmp_path: Path) -> None:
    """Killed before it could sync: a line of ours that covers its claims would lie."""
    _ = one_part(tmp_path, claims_of(target()), target())
    part = one_part(tmp_path, claims_of(target(), have=b"\1\0\0"), target())
    part.sync()
    part.close()
    part.path.unlink()
    with pytest.raises(FileNotFoundError):
        part.sync()


def test_what_is_written_is_synced_before_it_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may have claimed a block in the journal, and not yet noted it here."""
    synced: list[int] = []

    def flush(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(parts, "flush", flush)
    part = one_part(tmp_path, claims_of(target()), target())
    part.sync()
    assert not synced
    part.put(memoryview(b"0123"), 0)
    part.sync()
    assert synced == [part.path.stat().st_ino]
    part.close()


def test_starting_over_believes_nothing(tmp_path: Path) -> None:
    _ = one_part(tmp_path, claims_of(target()), target())
    part = one_part(tmp_path, claims_of(target(), have=b"\1\1\1"), target())
    _, first = part.open()
    part.start_over()
    assert part.have == bytes(3)
    assert part.open()[1] is not first
    part.close()


def test_starting_over_takes_the_name_away_too(tmp_path: Path) -> None:
    """A sync in another thread finds either the file with its name or nothing to do."""
    part = one_part(tmp_path, claims_of(target(), have=b"\1\1\1"), target())
    part.put(memoryview(bytes(part.size_bytes)), 0)
    _ = part.finish("0" * 64, syncs_first=False)
    part.start_over()
    assert (part.seal, part.final.exists(), part.here_bytes) == (None, False, 0)
    part.sync()


def test_a_sync_of_what_had_the_name_before_says_nothing_of_what_has_it_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = one_part(tmp_path, claims_of(target()), target())
    synced: list[int] = []

    def bring() -> None:
        part.put(memoryview(bytes(part.size_bytes)), 0)
        _ = part.finish("0" * 64, syncs_first=False)

    def flush(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        if len(synced) == 1:  # while the disk is at it
            part.start_over()
            bring()

    bring()
    monkeypatch.setattr(parts, "flush", flush)
    part.sync()
    part.sync()
    assert synced[1:] == [part.final.stat().st_ino]


def test_a_link_in_the_place_of_the_partial_folder_leads_nowhere(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / ".partial").symlink_to(outside)
    part = one_part(folder, claims_of(target()), target())
    assert part.path.exists()
    assert list(outside.iterdir()) == []


def test_a_link_below_the_partial_folder_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "model" / ".partial").mkdir(parents=True)
    (tmp_path / "model" / ".partial" / "sub").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        _ = one_part(tmp_path / "model", claims_of(target()), target())
    assert list(outside.iterdir()) == []


def test_sweeping_leaves_the_build_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    _ = (outside / "kept").write_bytes(b"x")
    folder = tmp_path / "model"
    for name in ("keep.json", "sub/keep.json", "old.json", "gone/deep/old.json", ".partial/p"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _ = (folder / name).write_bytes(b"x")
    _ = (folder / ".lock").write_bytes(b"")
    (folder / "link").symlink_to(outside)
    sweep(folder, ["keep.json", "sub/keep.json"])
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert left == {"keep.json", "sub", "sub/keep.json", ".lock"}
    assert (outside / "kept").exists()
