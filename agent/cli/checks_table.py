"""All checks of ``poolhand doctor``: what each looks at, and who makes it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from ...config.frozen import frozen
from . import (
    checks_agent,
    checks_boards,
    checks_config,
    checks_disk,
    checks_line,
    checks_machine,
    checks_peers,
    checks_power,
    checks_store,
    checks_telemetry,
    checks_unit,
)
from .checks_told import Finding, Ground


@frozen
class Group:
    """Checks that are made one after the other.

    Attributes:
        about: By id, what a check looks at.
        look: Makes them; one finding at least for each id.
        needs_settings: Whether nothing can be looked at without a configuration.
        waits: Whether it may wait, for a network, a driver or a tool.
        is_network: Whether it leaves this process's machine, or would.
    """

    name: str
    about: Mapping[str, str]
    look: Callable[[Ground], Iterator[Finding]]
    needs_settings: bool = True
    waits: bool = False
    is_network: bool = False


GROUPS: Sequence[Group] = (
    Group("configuration", checks_config.ABOUT, checks_config.look, needs_settings=False),
    Group("agent", checks_agent.ABOUT, checks_agent.look, needs_settings=False),
    Group("hours", checks_agent.HOURS, checks_agent.hours),
    Group("line", checks_line.ABOUT, checks_line.look, waits=True, is_network=True),
    Group("stores", checks_store.ABOUT, checks_store.look, waits=True, is_network=True),
    Group("peers", checks_peers.ABOUT, checks_peers.look, waits=True, is_network=True),
    Group("telemetry", checks_telemetry.ABOUT, checks_telemetry.look, waits=True, is_network=True),
    Group("disk", checks_disk.ABOUT, checks_disk.look),
    Group("limits", checks_machine.LIMITS, checks_machine.limits, needs_settings=False),
    Group("machine", checks_machine.ABOUT, checks_machine.look, waits=True),
    Group("boards", checks_boards.ABOUT, checks_boards.look, needs_settings=False, waits=True),
    Group("power", checks_power.ABOUT, checks_power.look, needs_settings=False),
    Group("service", checks_unit.ABOUT, checks_unit.look, needs_settings=False),
)
"""In the order in which they are shown."""

ABOUT: Mapping[str, str] = MappingProxyType(
    {check: words for group in GROUPS for check, words in group.about.items()}
)
"""Every check by its id."""
