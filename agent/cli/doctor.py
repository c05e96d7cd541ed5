"""``poolhand doctor``: what works here, what does not, why, and what helps.

It looks with the daemon's own functions, so that both come to the same verdicts; whether or not
an agent runs. What waits for a network waits side by side, and never for long.
"""

import json
import os
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import cast

from ...config.errors import ConfigError, RefInvalid
from ...config.load import load
from ...config.refs import ModelRef
from ..control.client import AgentNotRunning, get
from .checks_table import GROUPS, Group
from .checks_told import Finding, Ground, Verdict, fail, skipped
from .doctor_verdict import Chance, chances, lines
from .exits import Exit
from .places import add_config, add_state_dir, config_of, home, socket_of, state_of
from .render import plain, table, wants_colour
from .status import read

PATIENCE_S = 12.0
"""Seconds that all that waits may take together; each step of it has a shorter limit."""

QUIET_S = 2.0
"""Seconds without a word, on a terminal; then it is told what is waited for."""

ASKED_S = 2.0
"""Seconds that a running agent may take for an answer."""

_COLOURS: Mapping[Verdict, str] = {
    Verdict.OK: "32",
    Verdict.WARN: "33",
    Verdict.FAIL: "1;31",
    Verdict.SKIPPED: "2",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Take a model, or ``s3`` and a reference to read from."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="ends with whether this model would be answered here; `s3`: measure one read of REF",
    )
    parser.add_argument("ref", nargs="?", metavar="REF", help="with s3: such as s3://bucket/prefix")
    add_config(parser)
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--offline", action="store_true", help="ask no network")
    parser.add_argument("--quiet", action="store_true", help="leave out what is well, and skipped")


def main(args: Namespace) -> int:
    """Look at everything, and print it.

    Returns:
        0 if nothing fails, 1 if something does or the named model would not be answered, 78 if
        the configuration, the token or the state folder cannot be used.
    """
    model, ref = cast("str | None", args.model), cast("str | None", args.ref)
    if model == "s3" and ref is not None:
        from .doctor_read import measure  # noqa: PLC0415  # only for this

        return measure(args, ref)
    if ref is not None:
        print("poolhand: only `doctor s3 REF` takes a reference", file=sys.stderr)
        return Exit.USAGE
    ground = ground_of(args)
    found = found_of(ground, is_offline=cast("bool", args.offline))
    models = () if not ground.runs else _asked(args, "/v1/models").get("models")
    told = chances(ground, found, models, _id_of(ground, model))
    code = _code(found, told if model is not None else [])
    if args.json:
        checks = [{**asdict(one), "verdict": one.verdict.value} for one in found]
        verdicts = [one.told() for one in told]
        print(json.dumps({"checks": checks, "models": verdicts, "exit": int(code)}))
        return code
    is_brief = cast("bool", args.quiet)
    for line in drawn(found, told, is_brief=is_brief, is_coloured=wants_colour()):
        print(line)
    return code


def ground_of(args: Namespace) -> Ground:
    """Read what is read once: the configuration, and the running agent's status."""
    path = config_of(args)
    loaded, refused = None, None
    try:
        loaded = load(path, os.environ)
    except ConfigError as error:
        refused = error
    return Ground(
        platform=sys.platform,
        environ=os.environ,
        home=home(),
        config=path,
        state_dir=state_of(args),
        loaded=loaded,
        refused=refused,
        status=_asked(args, "/v1/status"),
    )


def found_of(
    ground: Ground, groups: Sequence[Group] = GROUPS, *, is_offline: bool = False
) -> list[Finding]:
    """Make all checks, those that wait side by side; in the order of the groups."""
    looks = [_Look(group, ground, is_offline=is_offline) for group in groups]
    for look in looks:
        if look.group.waits:
            look.begin()
    for look in looks:
        if not look.group.waits:
            look.make()
    _await([look for look in looks if look.group.waits])
    return [found for look in looks for found in look.findings()]


class _Look:
    """One group while it looks.

    Args:
        group: Its checks.
        ground: What they look at.
        is_offline: Whether what needs a network is left out.
    """

    def __init__(self, group: Group, ground: Ground, *, is_offline: bool) -> None:
        self.group = group
        self._ground = ground
        self._is_offline = is_offline
        self._found: list[Finding] = []
        # a name server that does not answer cannot be left; whoever hangs there is left behind
        self.thread = threading.Thread(target=self.make, name=group.name, daemon=True)

    def begin(self) -> None:
        """Look in a thread of its own."""
        self.thread.start()

    def make(self) -> None:
        """Look, and keep each finding as it comes."""
        why = self._why_not()
        if why:
            self._found += [skipped(check, why) for check in self.group.about]
            return
        for one in self.group.look(self._ground):
            self._found.append(one)  # each is there even if the next never comes

    def findings(self) -> Iterator[Finding]:
        """What was found; of what was not looked at in time, that."""
        is_late = self.thread.is_alive()  # asked first: it may end in between
        found = tuple(self._found)
        yield from found
        cause, remedy = "the check itself broke off", "Report what it wrote: that is a bug."
        if is_late:
            cause = f"no answer within {PATIENCE_S:.0f} s"
            remedy = "Try again; look at the network and the system's log."
        for check in self.group.about:
            if check not in {one.id for one in found}:
                yield fail(check, cause, remedy)

    def _why_not(self) -> str:
        if self.group.needs_settings and self._ground.loaded is None:
            return "the configuration cannot be used"
        return "--offline" if self.group.is_network and self._is_offline else ""


def _await(looks: Sequence[_Look]) -> None:
    """Wait for them, and tell whoever waits at a terminal what for."""
    began_s = time.monotonic()
    is_told = False
    while waiting := [look for look in looks if look.thread.is_alive()]:
        passed_s = time.monotonic() - began_s
        if passed_s > PATIENCE_S:
            break
        if passed_s > QUIET_S and sys.stderr.isatty():
            names = ", ".join(look.group.name for look in waiting)
            print(f"\r\x1b[Kwaiting for: {names} ({passed_s:.0f} s)", end="", file=sys.stderr)
            sys.stderr.flush()
            is_told = True
        limit_s = began_s + PATIENCE_S + 0.1 - time.monotonic()
        waiting[0].thread.join(min(0.25 if sys.stderr.isatty() else limit_s, limit_s))
    if is_told:
        print("\r\x1b[K", end="", file=sys.stderr)


def drawn(
    found: Sequence[Finding], told: Sequence[Chance], *, is_brief: bool, is_coloured: bool
) -> Iterator[str]:
    """The human view: one line a check, its remedy below it, then the models, then the sum."""
    width = max((len(one.id) for one in found), default=0)
    for one in found:
        if is_brief and one.verdict in {Verdict.OK, Verdict.SKIPPED}:
            continue
        word = f"{one.verdict.value:<7}"
        shown = f"\x1b[{_COLOURS[one.verdict]}m{word}\x1b[0m" if is_coloured else word
        subject = f"{one.subject}: " if one.subject else ""
        yield f"{shown}  {plain(f'{one.id:<{width}}  {subject}{one.cause}')}"
        if one.remedy:
            yield plain(f"{'':<7}  {'':<{width}}  -> {one.remedy}")
    yield from map(plain, lines(told))
    counts = {word: sum(one.verdict is word for one in found) for word in Verdict}
    yield ", ".join(f"{count} {word.value}" for word, count in counts.items() if count)


def _asked(args: Namespace, target: str) -> Mapping[str, object]:
    try:
        return table(read(*get(socket_of(args), target, ASKED_S)))
    except AgentNotRunning:
        return {}


def _id_of(ground: Ground, name: str | None) -> str | None:
    """The id of a model that is named by its id, an alias or its reference."""
    if name is None or ground.loaded is None:
        return name
    try:
        ref = str(ModelRef.parse(name))
    except RefInvalid:
        ref = name
    for entry in ground.settings.models:
        if name == entry.id or name in entry.aliases or (entry.ref and ref == entry.ref):
            return entry.id
    return name


def _code(found: Sequence[Finding], named: Sequence[Chance]) -> Exit:
    if any(one.is_config for one in found):
        return Exit.CONFIG
    is_well = all(one.verdict is not Verdict.FAIL for one in found)
    return Exit.OK if is_well and all(one.is_certain for one in named) else Exit.FAILURE
