"""poolhand: one machine, one pool, one line to the coordinator.

The repository's root is this package: ``agent/``, ``backends/`` and ``config/`` install
as ``poolhand.agent``, ``poolhand.backends`` and ``poolhand.config``. ARCHITECTURE.md says
what stands in which room.
"""

__version__ = "0.1.0"
