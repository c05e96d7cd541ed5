"""The node as its owner sees it: one object of plain values, ready for JSON.

It answers one question first: am I serving, and if not, why? Every reason has a stable code, a
sentence and what to do about it. Ages are seconds before now; what is unknown is ``null``.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from ...backends.stores.base import Stock
from ...config.errors import AgentError
from .blockers import blockers
from .drains import RESTS
from .node import Node
from .pool import is_allowed
from .report import Snapshot
from .request_key import LOCAL
from .requests import RequestState
from .session import Session, State
from .slots import SlotState, Stay
from .wishes import percent

_MIN_S = 60.0

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def status(node: Node, now_s: float) -> dict[str, Json]:
    """Everything the owner may want to know."""
    snapshot = node.snapshot(now_s)
    why_not = reasons(node, snapshot)
    return {
        "serving": not why_not,
        "why_not": why_not,
        "line": _line(node, now_s),
        "pool": _pool(node, now_s),
        "reach": _reach(snapshot),
        "drains": _drains(node, now_s),
        "pinned": [*sorted(snapshot.pinned)],
        "desired": _desired(node, now_s),
        "rest": _rest(node),
        "max_model_slots": snapshot.settings.slots.max_model_slots,
        "slots": _slots(snapshot),
        "requests": _requests(node, snapshot),
        "memory": _memory(node, snapshot),
        "cache": _cache(node),
        "restarts": _restarts(node, now_s),
        "config": {"rejected": _error(node.rejected) if node.rejected else None},
        "failures": [{**_error(e), "age_s": _age(at_s, now_s)} for at_s, e in node.failed.recent],
        "unknown_frames": node.standing.unknown_frames,
    }


def models(node: Node, now_s: float) -> list[Json]:
    """Every offered model: where it lies, how far it is, whether a request would reach it."""
    snapshot = node.snapshot(now_s)
    return [
        {
            "id": entry.id,
            "aliases": list(entry.aliases),
            "ref": entry.where,
            "in_pool": node.loads.pool.serves(entry.id),
            "allowed": is_allowed(entry, node.settings.pools.allowed),
            "state": _state(entry.id, node.loads.stays.all(), node.machine.stocks),
            **_stock(node.machine.stocks.get(entry.id) or Stock(entry.id, "listed")),
            "blockers": _blockers(snapshot, entry.id),
        }
        for entry in node.settings.models
    ]


def reasons(node: Node, snapshot: Snapshot) -> list[Json]:
    """Why this node serves nobody now, the first thing to mend first; empty if it serves."""
    found: list[Json] = []
    drain = node.loads.drains.first
    if node.rest.code is not None:
        found.append(_reason(node.rest.code, node.rest.cause, node.rest.remedy))
    if drain is not None and drain.reason == "operator":
        found.append(_reason("node_drained", drain.words, "Say `poolhand undrain`."))
    elif drain is not None and drain.reason not in RESTS:
        found.append(_reason("node_draining", drain.words))
    if node.session.state is not State.ONLINE:
        found.append(_line_reason(node))
    trust, runtime = node.standing.trust, node.standing.runtime
    if trust is not None and trust.status == "untrusted":
        words = f"the coordinator does not trust this node: {trust.reason or 'no reason'}"
        found.append(_reason("untrusted", words, "Ask the coordinator's operator."))
    if runtime is not None and not runtime.verified:
        parts = ", ".join(m.component for m in runtime.mismatches) or "something"
        words = f"the coordinator expects another {parts}"
        found.append(_reason("runtime_mismatch", words, "Compare [wire] with what it expects."))
    if not node.loads.pool.models:
        words = f"pool '{node.loads.pool.name}' holds no model that is offered and allowed"
        found.append(_reason("pool_empty", words, "Add a model to [[models]] or to the pool."))
    elif node.rest.code is None and not any(
        stay.state is SlotState.READY for stay in snapshot.stays
    ):
        found.append(_model_reason(node, snapshot))
    return found


def _line_reason(node: Node) -> Json:
    error = node.session.last_error
    if error is not None:
        return _error(error)
    return _reason("line_connecting", "the line to the coordinator is not open yet", "Wait.")


def _model_reason(node: Node, snapshot: Snapshot) -> Json:
    coming = [stay for stay in snapshot.stays if stay.state is not SlotState.UNLOADING]
    if coming:
        return _reason("model_coming", _coming(coming[0]), "Wait.")
    if node.failed.recent:
        return _error(node.failed.recent[-1][1])
    return _reason(
        "no_model_loaded",
        "no model is in memory: the coordinator has not asked for one",
        "Send the coordinator a request for a model of the pool.",
    )


def _coming(stay: Stay) -> str:
    """A model on its way, and how far it is."""
    words, progress = f"model '{stay.model}' is {stay.state}", stay.progress
    here = percent(progress) if stay.state is SlotState.DOWNLOADING and progress else None
    if progress is None or here is None:
        return words
    left_s = progress.eta_s
    left = "" if left_s is None else f", {left_s / _MIN_S:.0f} min left"
    if left_s is not None and left_s < 2 * _MIN_S:
        left = f", {left_s:.0f} s left"
    return f"{words}: {here:.0f} %{left}"


def _line(node: Node, now_s: float) -> dict[str, Json]:
    session, error = node.session, node.session.last_error
    return {
        "state": session.state,
        "url": node.settings.coordinator.socket_url,
        "since_s": _age(session.since_s, now_s),
        "lines": session.line,
        "failures_in_a_row": session.failures,
        "dials_in_s": _dials_in_s(session, now_s),
        "last_error": _error(error) if error else None,
        "trust": None if node.standing.trust is None else node.standing.trust.status,
    }


def _dials_in_s(session: Session, now_s: float) -> float | None:
    """How long until it is tried again; ``None`` unless somebody waits for that."""
    if session.state is not State.DOWN or session.deadline_s is None:
        return None
    return round(max(0.0, session.deadline_s - now_s), 3)


def _pool(node: Node, now_s: float) -> dict[str, Json]:
    refused = node.loads.refusals
    refusal = refused.last
    return {
        "assigned": node.loads.pool.assigned,
        "scope": list(node.loads.pool.scope),
        "source": node.loads.pool.source,
        "epoch": node.choice.assignment.epoch,
        "for_s": _age(node.choice.assignment.since_s, now_s),
        "enforced": node.settings.pools.enforce,
        "moving": node.moves.move is not None,
        "stays_because": node.moves.obstacle(now_s),
        "models": list(node.loads.pool.models),
        "allowed": list(node.settings.pools.allowed),
        "refusals": refused.total,
        "refusals_by_reason": dict(refused.by_reason),
        "last_refusal": None
        if refusal is None
        else {
            "model": refusal.model,
            **_error(refusal.error),
            "count": refusal.count,
            "age_s": _age(refusal.at_s, now_s),
        },
    }


def _restarts(node: Node, now_s: float) -> list[Json]:
    """Models whose engine ended unasked and which are not back yet."""
    found = [(m, one.error(m, now_s)) for m, one in node.loads.restarts.waiting().items()]
    return [{"model": model, **_error(error), "in_s": error.waits_s} for model, error in found]


def _reach(snapshot: Snapshot) -> Json:
    """Whether a request for the assigned model would reach this machine now.

    The model is the one that answers, or else the first of the pool; ``null`` if it has none.
    Of other models that are offered, the first thing in the way is told.
    """
    here = [stay.model for stay in snapshot.ready if snapshot.pool.serves(stay.model)]
    model = next((each for each in (*here, *snapshot.pool.models)), None)
    if model is None:
        return None
    found = _blockers(snapshot, model)
    rows = ((each.id, blockers(snapshot, each.id)) for each in snapshot.settings.models)
    others: list[Json] = [
        {"model": other, "code": row[0].code, "words": row[0].words, "certain": row[0].is_certain}
        for other, row in rows
        if row and other != model
    ]
    return {"model": model, "reachable": not found, "blockers": found, "others": others}


def _blockers(snapshot: Snapshot, model: str) -> list[Json]:
    return [
        {**_reason(each.code, each.words, each.remedy), "certain": each.is_certain}
        for each in blockers(snapshot, model)
    ]


def _desired(node: Node, now_s: float) -> list[Json]:
    """What a coordinator wants here, and how far it is."""
    if node.loads.wishes.desired is None:
        return []
    from .convergence import convergence  # noqa: PLC0415  # most are told of no desire

    return [
        {
            "name": each.name,
            "model": each.model,
            "previous": each.previous,
            "state": each.state,
            "why": each.why or None,
            "failures": each.failures,
            "again_in_s": None if each.again_s is None else max(0.0, each.again_s - now_s),
        }
        for each in convergence(node.loads, node.machine.stocks)
    ]


def _drains(node: Node, now_s: float) -> list[Json]:
    """Every reason to take nothing new, in the order in which they began."""
    return [
        {"reason": each.reason, "words": each.words, "for_s": _age(each.since_s, now_s)}
        for each in node.loads.drains.all()
    ]


def _slots(snapshot: Snapshot) -> list[Json]:
    """Every stay, those that only ask for a slot among them."""
    return [_stay(snapshot, stay) for stay in snapshot.stays]


def _stay(snapshot: Snapshot, stay: Stay) -> Json:
    mine = [entry for entry in snapshot.requests if entry.model == stay.model]
    load = snapshot.loads.get(stay.model)
    progress = stay.progress
    return {
        "model": stay.model,
        "state": stay.state,
        "for_s": _age(stay.since_s, snapshot.now_s),
        "is_load": stay.is_load,
        "requests": len(mine),
        "needs_bytes": stay.needs_bytes or None,
        "holds_bytes": stay.holds_bytes,
        "load_s": stay.load_s,
        "context_tokens": stay.context_tokens,
        "decode_tps": load.decode_tps if load else None,
        "generated_tokens": load.generated_tokens if load else None,
        "weight_hash": stay.build.weight_hash if stay.build and stay.build.is_here else None,
        "verified_by": stay.build.verified_by if stay.build and stay.build.is_here else None,
        "trouble": load.trouble if load else None,
        "bytes_done": progress.bytes_done if progress else None,
        "bytes_total": progress.bytes_total if progress else None,
        "bytes_resumed": progress.bytes_resumed if progress else None,
        "bytes_peers": progress.bytes_peers if progress else None,
        "bytes_reused": progress.bytes_reused if progress else None,
        "rate_bytes_s": progress.rate_bytes_s if progress else None,
        "percent": percent(progress) if progress else None,
        "eta_s": progress.eta_s if progress else None,
        "phase": _phase(stay),
    }


def _rest(node: Node) -> dict[str, Json]:
    """What the hours say, what the machine's owner does, and who comes back afterwards."""
    rest, owner = node.rest, node.settings.owner
    return {
        "phase": rest.moment.phase,
        "turns_at": rest.turns_at,
        "yield_to": [*owner.yield_to],
        "is_owners": rest.verdict.is_owners,
        "sign": rest.verdict.sign,
        "words": rest.verdict.words,
        "asleep": [*rest.asleep],
    }


def _phase(stay: Stay) -> str | None:
    """What is being done for a model on its way; ``None`` once it is here, or before it began."""
    if stay.state is SlotState.DOWNLOADING:
        return stay.progress.phase or None if stay.progress else None
    return {SlotState.VERIFYING: "verify", SlotState.LOADING: "load"}.get(stay.state)


def _requests(node: Node, snapshot: Snapshot) -> dict[str, Json]:
    states = [entry.state for entry in snapshot.requests]
    counts: dict[str, Json] = {state.value: states.count(state) for state in RequestState}
    local: dict[str, Json] = {
        "local": sum(entry.key.line == LOCAL for entry in snapshot.requests),
        "local_served": node.answers.ledger.local_stats().requests_served,
    }
    return {**counts, **local, **snapshot.stats.model_dump()}


def _memory(node: Node, snapshot: Snapshot) -> dict[str, Json]:
    return {
        "kind": snapshot.facts.kind,
        "total_bytes": snapshot.facts.memory_total_bytes,
        "available_bytes": snapshot.sample.memory_available_bytes,
        "pressure": snapshot.sample.memory_used_ratio,
        "free_for_load_bytes": snapshot.free_for_load_bytes,
        "thermal_state": snapshot.sample.thermal_state,
        "measured": [
            {
                "model": each.model,
                "estimated_bytes": each.estimated_bytes,
                "loaded_bytes": each.loaded_bytes,
                "peak_bytes": each.peak_bytes,
                "load_s": each.took_s,
            }
            for each in node.loads.measured.known.values()
        ],
    }


def _cache(node: Node) -> dict[str, Json]:
    survey, stocks = node.machine.survey, node.machine.stocks
    told: dict[str, Json] = {"models": [_stock(stock) for stock in stocks.values()]}
    if survey is None:
        return told
    damaged: list[Json] = [
        {"model": one.model, "files": [*one.files], "mending": one.is_mending}
        for one in survey.damaged
    ]
    return {
        **told,
        "used_bytes": survey.used_bytes,
        "pending_bytes": survey.pending_bytes,
        "free_bytes": survey.free_bytes,
        "reserve_bytes": survey.reserve_bytes,
        "quota_bytes": survey.quota_bytes,
        "left": [*survey.left],
        "scrubbing": survey.scrubbing,
        "damaged": damaged,
        "read_whole_unix_s": {**survey.read_whole_s},
    }


def _stock(stock: Stock) -> dict[str, Json]:
    return {
        "id": stock.model,
        "on_disk": stock.state,
        "size_bytes": stock.size_bytes,
        "here_bytes": stock.here_bytes,
        "weight_hash": stock.build.weight_hash if stock.build else None,
        "verified_by": stock.build.verified_by if stock.build else None,
    }


def _state(model: str, stays: Iterable[Stay], stocks: Mapping[str, Stock]) -> str:
    """How far a model is, in one word: its stay's state, else what lies on disk."""
    words = [stay.state.value for stay in stays if stay.model == model]
    disk = {"listed": "listed", "partial": "partial", "here": "on_disk"}
    return words[-1] if words else disk[stocks[model].state if model in stocks else "listed"]


def _error(error: AgentError) -> dict[str, Json]:
    return {"code": error.code, "words": str(error), "remedy": error.remedy}


def _reason(code: str, words: str, remedy: str = "Nothing.") -> dict[str, Json]:
    return {"code": code, "words": words, "remedy": remedy}


def _age(at_s: float, now_s: float) -> float:
    return round(max(0.0, now_s - at_s), 3)
