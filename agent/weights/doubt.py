"""What is read once more before it is called damaged.

A byte may change on its way, or in what an earlier run left; so a complete file that is not what
was promised comes a second time. Where the store's tag is the only word, and may be no MD5, that
is known only when another file's tag was seen to be right, or when nothing else is to come.
"""

from collections.abc import Sequence

from ...backends.stores.errors import WeightsCorrupt
from .parts import Part
from .told import Checked, lies
from .verify import check_file


def holds(part: Part, sha256: str, held: memoryview | None, *, model: str) -> bool:
    """Look into a complete file.

    Args:
        part: All of it is here.
        sha256: Its digest.
        held: The file, if it lies in memory.
        model: For messages.

    Returns:
        Whether it may have its name; else it is to be read once more.

    Raises:
        WeightsCorrupt: It makes no sense, and was meant so or came so twice.
    """
    if part.is_other(sha256):
        return False
    path, is_plain = part.target.remote.path, part.target.is_plain
    opened = part.path if held is None else held
    try:
        part.weights_bytes = check_file(opened, path=path, model=model, is_plain=is_plain)
    except WeightsCorrupt:
        if part.is_second_reading or _is_meant(part):
            raise
        return False
    return True


def _is_meant(part: Part) -> bool:
    """Whether somebody vouches for just these bytes, so that another reading brings the same."""
    told = part.target.told
    return part.target.sha256 is not None or (told is not None and told == part.found())


def doubted(parts: Sequence[Part]) -> tuple[list[int], list[int]]:
    """The files that are not what the store tells, once all of them are here.

    Returns:
        All of them, and those that were read only once: they are to lose their names.
    """
    lie = set(
        lies(
            Checked(part.target.remote.path, part.target.told, part.seal and part.seal.told)
            for part in parts
        )
    )
    wrong = [number for number, part in enumerate(parts) if part.target.remote.path in lie]
    return wrong, [number for number in wrong if not parts[number].is_second_reading]
