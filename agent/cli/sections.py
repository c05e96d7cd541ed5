"""The parts of the status as people read them, one function a part.

Each takes the part's JSON and yields lines without indentation; whatever is missing is left
out, for an older command line has to show a newer agent and the other way round. Everything
goes through :func:`~.render.plain`, for texts may come from a coordinator.
"""

from collections.abc import Iterator, Mapping

from .render import items, percent, plain, size, span, table, time_left

Part = Mapping[str, object]

_BAR_CELLS = 24


def line(part: Part) -> Iterator[str]:
    """Where the line stands, for how long, and what went wrong last."""
    yield _joined(plain(part.get("state")), _for(part.get("since_s")), plain(part.get("url")))
    error = table(part.get("last_error"))
    if error and part.get("state") != "online":
        yield f"last error: {plain(error.get('words'))}"
    if isinstance(wait_s := part.get("dials_in_s"), int | float):
        yield f"dials again in {span(wait_s)}"
    if part.get("trust"):
        yield f"the coordinator says: {plain(part['trust'])}"


_SOURCES = {
    "config": "chosen in the configuration",
    "persisted": "as before the restart",
    "resident": "what is in memory",
    "sole": "the only one offered",
    "hash": "chosen by this machine's number",
    "message": "assigned by the coordinator",
    "load": "chosen by a load",
    "request": "chosen by a request",
    "operator": "chosen by its operator",
    "desired": "chosen by the desired models",
    "none": "nobody has chosen yet",
}
"""What the status's ``source`` means to a person."""


def pool(part: Part) -> Iterator[str]:
    """What is served, who chose it, and what was refused last."""
    source = _SOURCES.get(plain(part.get("source")), plain(part.get("source")))
    scope = [plain(key) for key in items(part.get("scope"))]
    name = plain(part.get("assigned")) if part.get("assigned") or not scope else " or ".join(scope)
    since = _for(part.get("for_s"))
    epoch = f"epoch {plain(part['epoch'])}" if "epoch" in part else ""
    yield _joined(name, f"({source})", since, epoch)
    if part.get("enforced") is False:
        yield "not enforced: whatever is allowed may be loaded"
    if part.get("stays_because"):
        yield f"stays because: {plain(part['stays_because'])}"
    for model in items(part.get("models")):
        yield f"  {plain(model)}"
    refusal = table(part.get("last_refusal"))
    if refusal:
        times = plain(refusal.get("count"))
        yield f"refused {times}x, {_ago(refusal.get('age_s'))}: {plain(refusal.get('words'))}"


_PHASES = {
    "open": "serves until",
    "closing": "finishes what runs until",
    "closed": "closed until",
    "waking": "gets ready for",
}
"""What the status's ``phase`` means to a person, before a time."""


def rest(part: Part) -> Iterator[str]:
    """When it serves, whose the machine is, and who comes back; nothing if it always serves."""
    if part.get("turns_at"):
        yield f"{_PHASES.get(plain(part.get('phase')), '')} {plain(part['turns_at'])}".strip()
    heeded = ", ".join(plain(sign) for sign in items(part.get("yield_to")))
    if part.get("is_owners"):
        yield f"its owner has it: {plain(part.get('words'))}"
    elif heeded:
        yield f"steps aside for {heeded}; nobody needs it now"
    asleep = ", ".join(plain(model) for model in items(part.get("asleep")))
    if asleep:
        yield f"back afterwards: {asleep}"


def slots(part: Part) -> Iterator[str]:
    """Every stay: its state, how far it is, what it holds and does."""
    stays = [table(one) for one in items(part.get("stays"))]
    yield f"{len(stays)} model(s), {plain(part.get('max'))} slot(s)"
    for stay in stays:
        yield "  " + _joined(plain(stay.get("model")), plain(stay.get("state")), *_stay(stay))


def requests(part: Part) -> Iterator[str]:
    """How many now, and how many since the start."""
    waiting = sum(_count(part, name) for name in ("opening", "waiting"))
    now = f"{_count(part, 'running')} running, {waiting} waiting"
    served = f"{_count(part, 'requests_served')} served"
    local = [_count(part, name) for name in ("local", "local_served")]
    own = f"; for this machine: {local[0]} now, {local[1]} served" if any(local) else ""
    yield f"{now}; {served}, {_count(part, 'tokens_generated')} tokens{own}"


def memory(part: Part) -> Iterator[str]:
    """What there is, what is free, and what could be loaded."""
    available, total = _size(part, "available_bytes"), _size(part, "total_bytes")
    free = part.get("free_for_load_bytes")
    could = f"; weights of {_size(part, 'free_for_load_bytes')} would fit" if free else ""
    heat = part.get("thermal_state")
    yield f"{available} of {total} free{could}" + (f"; {plain(heat)}" if heat else "")


def cache(part: Part) -> Iterator[str]:
    """What lies on this disk."""
    if part.get("dir"):
        yield plain(part["dir"])
    if part.get("used_bytes") is not None:
        quota = f" of {_size(part, 'quota_bytes')}" if part.get("quota_bytes") else ""
        free, kept = _size(part, "free_bytes"), _size(part, "reserve_bytes")
        yield f"{_size(part, 'used_bytes')}{quota} taken; {free} of the disk free, {kept} kept so"
    if part.get("scrubbing"):
        yield f"{plain(part['scrubbing'])} is being read whole"
    for one in map(table, items(part.get("damaged"))):
        todo = "what is bad comes anew" if one.get("mending") else "it is in use and left as it is"
        yield f"{plain(one.get('model'))} is damaged: {todo}"
    for stock in map(table, items(part.get("models"))):
        here = {"here": "here", "partial": "partly here", "listed": "not here"}
        state = here.get(plain(stock.get("on_disk")), "?")
        by = {
            "manifest": "verified by manifest",
            "store": "verified by the store's digests",
            "self": "verified by our own digests",
        }
        yield "  " + _joined(
            plain(stock.get("id")),
            _size(stock, "size_bytes"),
            state,
            by.get(plain(stock.get("verified_by")), ""),
        )


def reach(part: Part) -> Iterator[str]:
    """What would keep a request of the pool's model from this machine; nothing if it would come."""
    doubtful: list[str] = []
    for one in map(table, items(part.get("blockers"))):
        if one.get("certain"):
            yield f"no request comes: {plain(one.get('words'))}"
        else:
            doubtful.append(plain(one.get("code")))
    if doubtful:
        yield f"a coordinator left at its defaults would send none: {', '.join(doubtful)}"
        yield f"  -> `poolhand models why {plain(part.get('model'))}` says more"
    others = [one for one in map(table, items(part.get("others"))) if one.get("certain")]
    if others:
        first = f"{plain(others[0].get('model'))}: {plain(others[0].get('code'))}"
        yield f"{len(others)} other model(s) get none ({first}); see `poolhand models why`"


def desired(part: Part) -> Iterator[str]:
    """What a coordinator wants here, and how far each build is."""
    for one in map(table, items(part.get("desired"))):
        state, why = plain(one.get("state")).replace("_", " "), one.get("why")
        wait_s, failures = one.get("again_in_s"), one.get("failures")
        tries = f"failed {plain(failures)}x" if failures else ""
        again = f"again in {span(wait_s)}" if isinstance(wait_s, int | float) else ""
        told = plain(why) if why else ""
        words = (*((tries,) if state == "failed" else (state, tries)), again, told)
        yield _joined(f"{plain(one.get('name'))}: {plain(one.get('model'))}", *words)


def drains(part: Part) -> Iterator[str]:
    """Every reason to take nothing new."""
    for one in map(table, items(part.get("drains"))):
        yield _joined(plain(one.get("words")), _for(one.get("for_s")))


def restarts(part: Part) -> Iterator[str]:
    """Models whose engine ended unasked, and when they come back."""
    for row in map(table, items(part.get("restarts"))):
        yield plain(row.get("words"))


def failures(part: Part) -> Iterator[str]:
    """What failed lately, the latest first, and what helps."""
    last = [table(one) for one in items(part.get("failures"))][-_LAST_FAILURES:]
    for one in reversed(last):
        yield f"{_ago(one.get('age_s'))}, {plain(one.get('code'))}: {plain(one.get('words'))}"
        if one.get("remedy"):
            yield f"  -> {plain(one['remedy'])}"


_LAST_FAILURES = 3


def config(part: Part) -> Iterator[str]:
    """Which file is in force, what of it waits for a restart, and what could not be at all."""
    yield plain(part.get("path"))
    pending = ", ".join(plain(key) for key in items(part.get("pending")))
    if pending:
        yield f"waits for a restart: {pending}"
    rejected = table(part.get("rejected"))
    if rejected:
        yield f"the last edit is not in force: {plain(rejected.get('words'))}"


def node(part: Part) -> Iterator[str]:
    """Which process answers."""
    words = f"poolhand {plain(part.get('version'))}, pid {plain(part.get('pid'))}"
    yield _joined(words, _for(part.get("uptime_s")))


def _stay(stay: Part) -> Iterator[str]:
    done, total = stay.get("bytes_done"), stay.get("bytes_total")
    if stay.get("state") == "downloading" and not total:
        yield f"{_for(stay.get('for_s'))}: its store is asked for it"
        return
    if (
        stay.get("state") == "downloading"
        and isinstance(done, int)
        and isinstance(total, int)
        and total > 0
    ):
        yield bar(done / total)
        rate, left_s = stay.get("rate_bytes_s"), stay.get("eta_s")
        how = [f"{size(rate)}/s"] if isinstance(rate, int | float) and rate > 0 else []
        how += [f"{time_left(left_s)} left"] if isinstance(left_s, int | float) else []
        if how:
            yield ", ".join(how)
        return
    yield _for(stay.get("for_s"))
    if stay.get("holds_bytes"):
        yield f"holds {_size(stay, 'holds_bytes')}"
    if isinstance(tps := stay.get("decode_tps"), int | float):
        yield f"{tps:.0f} tokens/s"
    if stay.get("requests"):
        yield f"{plain(stay['requests'])} request(s)"
    if trouble := stay.get("trouble"):
        yield plain(trouble)


def bar(ratio: float) -> str:
    """How far something is, as a picture and a number."""
    cells = round(max(0.0, min(1.0, ratio)) * _BAR_CELLS)
    return f"[{'#' * cells}{'.' * (_BAR_CELLS - cells)}] {percent(ratio)}"


def _joined(*words: str) -> str:
    return "  ".join(word for word in words if word and word != "-")


def _for(duration_s: object) -> str:
    return f"for {span(duration_s)}" if isinstance(duration_s, int | float) else ""


def _ago(age_s: object) -> str:
    return f"{span(age_s)} ago" if isinstance(age_s, int | float) else "once"


def _size(part: Part, name: str) -> str:
    value = part.get(name)
    return size(value) if isinstance(value, int | float) else "unknown size"


def _count(part: Part, name: str) -> int:
    value = part.get(name)
    return value if isinstance(value, int) else 0
