"""Would a request for a model reach this machine now? If not, what is first in its way?

Judged by a coordinator's own gates, on the very messages that this node sends: who we are in
``register``, how we are in ``heartbeat``. What only the coordinator's operator knows (which trust
is wanted, which backend word) is judged by a stock coordinator's defaults, and said to be so; a
coordinator that has sent work on this line has shown that its gates are open.

Source of the gates and their defaults: the public coordinator's routing, June 2026.
"""

from collections.abc import Iterator

from ...config.frozen import frozen
from ...config.refusals import SlotsBusy
from ..wire.types import BackendCapacity, SlotCapacity
from . import report
from .admission import GIB
from .pool import is_allowed

STOCK_BACKEND = "mlx-swift"
DEDICATED = "gemma-4"
"""A family of which a stock coordinator wants a machine to advertise nothing else."""

CHALLENGE_FRESH_S = 16 * 60.0
"""A node whose last challenge is older is sent no work."""

COLD_PADDING = 1.2
"""A cold model is sent where its decimal size times this, in GiB, is free."""

PRIVACY = (
    "text_backend_inprocess",
    "text_proxy_disabled",
    "anti_debug_enabled",
    "core_dumps_disabled",
    "env_scrubbed",
)
"""What a stock coordinator wants to be true of whoever sees text."""


@frozen
class Blocker:
    """One thing in the way of a request.

    Attributes:
        code: Stable, for programs.
        words: For a person.
        remedy: What helps.
        is_certain: Whether it holds with any coordinator; otherwise with one that was left at
            its defaults.
    """

    code: str
    words: str
    remedy: str
    is_certain: bool = True


def blockers(node: report.Snapshot, model: str) -> tuple[Blocker, ...]:
    """Everything in the way of a request for ``model``, the first thing to mend first.

    Args:
        node: The node now.
        model: A build's id.

    Returns:
        Empty if a request would reach this machine and be accepted. What holds with any
        coordinator stands before what only one does that was left at its defaults.
    """
    found = (
        *_line(node),
        *_offer(node, model),
        *_trust(node),
        *_pauses(node, model),
        *_will(node),
        *_room(node, model),
    )
    return tuple(sorted(found, key=lambda each: not each.is_certain))


def _line(node: report.Snapshot) -> Iterator[Blocker]:
    """Is there anybody who could send a request?"""
    if not node.line.is_online:
        yield Blocker("line_down", "there is no line to the coordinator", "See `poolhand status`.")
    trust, runtime = node.line.trust, node.line.runtime
    if trust is not None and trust.status == "untrusted":
        words = f"the coordinator does not trust this node: {trust.reason or 'no reason given'}"
        yield Blocker("untrusted", words, "Ask the coordinator's operator.")
    if runtime is not None and not runtime.verified:
        parts = ", ".join(each.component for each in runtime.mismatches) or "something"
        words = f"the coordinator expects another {parts}"
        yield Blocker("runtime_mismatch", words, "Compare [wire] with what it expects.")


def _offer(node: report.Snapshot, model: str) -> Iterator[Blocker]:
    """Does the coordinator know that the model is to be had here?"""
    entry = node.settings.entry(model)
    advertised = [each.id for each in report.models(node)]
    if entry is None:
        yield Blocker("not_offered", f"no [[models]] entry has the id '{model}'", "Add one.")
    elif not is_allowed(entry, node.settings.pools.allowed):
        words = f"pools.allowed does not allow '{model}'"
        yield Blocker("not_allowed", words, "Widen pools.allowed.")
    elif not node.pool.serves(model):
        words = f"'{model}' is outside the pool '{node.pool.name}'"
        yield Blocker("outside_pool", words, _choose(node, model))
    elif model not in advertised:
        words = f"'{model}' may be served, but the coordinator is not told of it"
        yield Blocker("not_advertised", words, _choose(node, model))
    yield from _listed(node, model)
    others = [each for each in advertised if DEDICATED not in each]
    if DEDICATED in model and model in advertised and others and not node.line.has_sent_work:
        words = f"beside a '{DEDICATED}' model no other may be advertised, as '{others[0]}' is"
        yield Blocker("family_mixed", words, "Offer the family alone.", is_certain=False)


def _listed(node: report.Snapshot, model: str) -> Iterator[Blocker]:
    """Is it in the coordinator's catalog, with these bytes?"""
    if node.catalog is None:
        return
    pinned, stock = node.catalog.get(model), node.stocks.get(model)
    ours = stock.build.weight_hash if stock is not None and stock.build is not None else ""
    if pinned is None:
        words = f"the coordinator's catalog does not list '{model}'"
        yield Blocker("not_in_catalog", words, "Have its operator add it.")
    elif pinned and ours and pinned != ours:
        words = f"the weights of '{model}' here are not those that the coordinator's catalog pins"
        yield Blocker("hash_differs", words, "Fetch the build that the catalog lists.")


def _choose(node: report.Snapshot, model: str) -> str:
    """How this machine's pool comes to be another."""
    is_fixed = node.settings.pools.assigned is not None
    return "Change pools.assigned." if is_fixed else f"Say `poolhand pool set {model}`."


def _trust(node: report.Snapshot) -> Iterator[Blocker]:
    """Would a coordinator with its defaults let this node see anybody's text?"""
    if node.line.has_sent_work:
        return
    if not node.line.is_trusted:
        words = "a coordinator sends work to hardware it trusts, and this node's trust is 'none'"
        yield _default("trust_level", words, "Its operator sets EIGENINFERENCE_MIN_TRUST=none.")
    label = node.settings.wire.backend_label
    if label != STOCK_BACKEND:
        words = f"wire.backend_label is '{label}', and a coordinator expects '{STOCK_BACKEND}'"
        yield _default("backend_label", words, "Set it, if the coordinator is your own.")
    if node.facts.sip_enabled is not True:
        words = (
            "System Integrity Protection is off"
            if node.facts.sip_enabled is False
            else "this system has no System Integrity Protection to report"
        )
        yield _default("sip_unproven", words, "Its operator has to relax that gate.")
    challenged_s = node.line.challenged_s
    if challenged_s is None or node.now_s - challenged_s > CHALLENGE_FRESH_S:
        words = "no challenge was answered in the last 16 minutes"
        yield _default("challenge_stale", words, "Wait for one.")
    missing = [name for name in PRIVACY if getattr(node.identity.privacy, name) is not True]
    if missing:
        words = f"not true of this process: {', '.join(missing)}"
        remedy = 'Set engines.mlx.isolation = "inprocess", or see `poolhand doctor`.'
        yield _default("privacy", words, remedy)


def _pauses(node: report.Snapshot, model: str) -> Iterator[Blocker]:
    """Is it passed over for what went wrong?"""
    for pause in node.line.pauses:
        left_s = pause.until_s - node.now_s
        if pause.model in {model, ""} and left_s > 0.0:
            code = "model_paused" if pause.model else "node_paused"
            yield _default(code, f"{pause.words}; passed over for {left_s:.0f} s more", "Wait.")


def _will(node: report.Snapshot) -> Iterator[Blocker]:
    """Does this node take anything new?"""
    if node.drain is not None:
        yield Blocker(f"draining_{node.drain.reason}", node.drain.words, _drain_remedy(node))
    if node.settings.coordinator.private_only:
        words = "coordinator.private_only: only its owner's own requests come"
        yield Blocker("private_only", words, "Set it to false.")
    if node.sample.thermal_state == "critical":
        yield Blocker("too_hot", "the machine's heat is critical", "Let it cool.")
    running, most = len(node.requests), node.settings.requests.max_concurrent
    if running >= most:
        words = f"{running} request(s) are under way, and requests.max_concurrent is {most}"
        yield Blocker("requests_full", words, "Wait.")


def _room(node: report.Snapshot, model: str) -> Iterator[Blocker]:
    """Is the model here, with room for one more; or could it come?"""
    lack = node.lacks.get(model)
    if lack is not None and not node.answers(model):
        yield Blocker("engine_missing", f"the engine of '{model}' is not installed", lack)
    capacity = report.heartbeat(node).backend_capacity
    slots = capacity.slots if capacity is not None else ()
    mine = next((slot for slot in slots if slot.model == model), None)
    if mine is not None:
        yield from _warm(mine, is_draining=node.is_draining)
    elif capacity is not None and node.pool.serves(model):
        found = (*_cold(node, model, capacity),)
        yield from found
        if not node.is_draining and not any(each.is_certain for each in found):
            yield from _own(node, model)


def _warm(slot: SlotCapacity, *, is_draining: bool) -> Iterator[Blocker]:
    if slot.state in {"reloading", "crashed"} and not is_draining:
        yield Blocker("slot_reloading", "the model is loading or leaving", "Wait.")
    most, running = slot.max_concurrency, (slot.num_running or 0) + (slot.num_waiting or 0)
    if most is not None and running >= most:
        words = f"the model answers {running} request(s), and {most} are the most"
        yield Blocker("slot_full", words, "Wait.")
    used, total = slot.active_token_budget_used, slot.active_token_budget_max
    if used is not None and total is not None and used >= total:
        yield Blocker("tokens_full", f"all {total} tokens of its memory are taken", "Wait.")


def _cold(node: report.Snapshot, model: str, capacity: BackendCapacity) -> Iterator[Blocker]:
    stock = node.stocks.get(model)
    size_bytes = stock.size_bytes if stock is not None else None
    free_gb, total_gb = capacity.free_for_load_gb, capacity.total_memory_gb
    if free_gb is None:
        yield Blocker("memory_unread", "this machine's memory was not read yet", "Wait.")
    elif any(stay.model == model for stay in node.stays):
        yield Blocker("on_its_way", f"'{model}' is on its way into memory", "Wait.")
    elif free_gb == 0.0 and not node.has_slot:
        if not node.is_draining:  # whoever drains says that none is free, and has told why
            yield Blocker("slots_busy", _held(node, model), "Wait, or unpin a model.")
    elif free_gb == 0.0 or (size_bytes or 0) * COLD_PADDING / GIB > free_gb:
        needs = "memory" if size_bytes is None else f"{size_bytes * COLD_PADDING / GIB:.1f} GiB"
        reserve_gib = node.settings.memory.reserve_gib
        kept = f" beside memory.reserve_gib = {reserve_gib:g}" if reserve_gib else ""
        words = f"'{model}' is not loaded and needs {needs}; {free_gb:.1f} GiB are free{kept}"
        yield Blocker("memory_short", words, "Free memory, or offer a smaller build.")
    elif size_bytes is not None and total_gb is not None and 2 * size_bytes / GIB > total_gb:
        words = f"'{model}' is more than half of this machine's {total_gb:.0f} GiB"
        remedy = "The catalog's min_ram_gb decides, if it has one."
        yield Blocker("memory_half", words, remedy, is_certain=False)


def _own(node: report.Snapshot, model: str) -> Iterator[Blocker]:
    """It would be sent here; would it be taken?"""
    error = node.will.objection(model, node.room_bytes)
    if error is not None:
        why = error.cause if isinstance(error, SlotsBusy) and error.cause else str(error)
        yield Blocker(error.code, why, error.remedy)


def _held(node: report.Snapshot, model: str) -> str:
    error = node.will.objection(model, None)
    if isinstance(error, SlotsBusy) and error.cause:
        return error.cause
    others = [stay.model for stay in node.stays if stay.model != model]
    if set(others) & node.will.kept - node.busy - node.pinned:
        names, least_s = ", ".join(others), node.settings.slots.min_residency_s
        return f"'{names}' was loaded less than slots.min_residency_s = {least_s:g} s ago"
    names = ", ".join(f"'{name}'" for name in others)
    return f"every slot is busy, pinned or promised: {names or 'nothing can be evicted'}"


def _drain_remedy(node: report.Snapshot) -> str:
    is_operators = node.drain is not None and node.drain.reason == "operator"
    return "Say `poolhand undrain`." if is_operators else "Wait."


def _default(code: str, words: str, remedy: str) -> Blocker:
    return Blocker(code, words, remedy, is_certain=False)
