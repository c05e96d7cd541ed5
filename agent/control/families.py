"""Every metric of the agent: name, kind, meaning and labels.

Labels are words of ours, ids of configured models, or error codes: nothing that a coordinator
or a client could make up, and never a request's id.
"""

from .exposition import Family

_QUICK_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LONG_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0)

COUNTED: tuple[Family, ...] = (
    Family("connects_total", "counter", "Lines to the coordinator that came to stand."),
    Family("reconnect_seconds", "histogram", "From a line's end to the next.", bounds=(*_LONG_S,)),
    Family("line_losses_total", "counter", "Lines that ended, by close code.", ("close_code",)),
    Family("heartbeats_total", "counter", "Heartbeats sent."),
    Family("heartbeat_bytes", "gauge", "Size of the latest heartbeat."),
    Family(
        "commands_total",
        "counter",
        "Messages of the coordinator, and what was answered to them.",
        ("kind", "result"),
    ),
    Family(
        "command_seconds",
        "histogram",
        "From a load_model to its last answer.",
        ("kind",),
        _LONG_S,
    ),
    Family("load_seconds", "histogram", "What a load spends its time on.", ("phase",), _LONG_S),
    Family("load_failures_total", "counter", "Loads that failed, by error code.", ("reason",)),
    Family("evictions_total", "counter", "Models that left memory, by cause.", ("reason",)),
    Family(
        "download_bytes_total",
        "counter",
        "Bytes brought, by kind of store or peers.",
        ("source",),
    ),
    Family("download_resumed_bytes_total", "counter", "Bytes an earlier fetch had left here."),
    Family("verify_failures_total", "counter", "Builds that were not what they should be."),
    Family("requests_total", "counter", "Requests that ended, by outcome.", ("outcome",)),
    Family(
        "local_requests_total",
        "counter",
        "Those of them that this machine's own programs asked.",
        ("outcome",),
    ),
    Family("request_errors_total", "counter", "Requests that failed, by code.", ("reason",)),
    Family("relay_seconds", "histogram", "Answers, from start to end.", (), (*_QUICK_S, 300.0)),
    Family(
        "first_token_seconds",
        "histogram",
        "Answers, from start to first piece.",
        (),
        _QUICK_S,
    ),
    Family("prompt_tokens_total", "counter", "Tokens of prompts that were answered."),
    Family("completion_tokens_total", "counter", "Tokens of answers."),
    Family("config_reloads_total", "counter", "Edits of the file, by result.", ("result",)),
    Family("orders_total", "counter", "The owner's orders, by answer.", ("result",)),
)
"""What is counted as it happens."""

LOOKED_UP: tuple[Family, ...] = (
    Family("build_info", "gauge", "Always 1.", ("version", "backend")),
    Family("uptime_seconds", "gauge", "Since the agent started."),
    Family("serving", "gauge", "1 if a request for the pool would be answered now."),
    Family("connection_state", "gauge", "1 for the state that the line is in.", ("state",)),
    Family("last_ack_age_seconds", "gauge", "Since the coordinator last answered a ping."),
    Family("outbox_depth", "gauge", "Frames that wait to be sent."),
    Family("draining", "gauge", "1 for each reason to take nothing new.", ("reason",)),
    Family("slots", "gauge", "Models by state.", ("state",)),
    Family("slots_max", "gauge", "Models that may be in memory at once."),
    Family("slot_loaded_bytes", "gauge", "What a resident model holds.", ("model",)),
    Family("download_done_bytes", "gauge", "What is here of a model on its way.", ("model",)),
    Family("download_whole_bytes", "gauge", "What it is going to be.", ("model",)),
    Family("download_left_seconds", "gauge", "Until its last byte, as foreseen.", ("model",)),
    Family("decode_tokens_per_second", "gauge", "One stream's pace, as it was lately.", ("model",)),
    Family("generated_tokens_total", "counter", "Tokens since the engine started.", ("model",)),
    Family("rejected_loads_total", "counter", "Loads refused, by error code.", ("reason",)),
    Family("pool_epoch", "gauge", "Goes up with each change of the assignment."),
    Family("requests_in_flight", "gauge", "Requests that have not ended, by state.", ("state",)),
    Family("stream_chunks_total", "counter", "Pieces of answers that were sent."),
    Family("cache_bytes", "gauge", "What builds and unfinished fetches take on the disk."),
    Family("cache_quota_bytes", "gauge", "Most that they may take."),
    Family("disk_free_bytes", "gauge", "What could still be written."),
    Family("disk_reserve_bytes", "gauge", "What has to stay free."),
    Family("damaged_builds", "gauge", "Builds found to be damaged."),
    Family("peers_sent_bytes_total", "counter", "Bytes that peers have read here."),
    Family("peers_asks_total", "counter", "What peers have asked."),
    Family("peers_connections", "gauge", "Peers that are connected here."),
    Family("peers_refused_total", "counter", "Greetings without the key, and talk without sense."),
    Family("peers_turned_away_total", "counter", "Connections of peers that were too many."),
    Family("memory_total_bytes", "gauge", "Memory in which weights live."),
    Family("memory_available_bytes", "gauge", "What of it a new program could take."),
    Family("memory_reserve_bytes", "gauge", "What of it is never promised to a model."),
    Family("memory_pressure", "gauge", "The part of it that is not available, 0 to 1."),
    Family("cpu_usage", "gauge", "Of all cores, 0 to 1."),
    Family("gpu_memory_used_bytes", "gauge", "A board's memory in use.", ("gpu",)),
    Family("gpu_usage", "gauge", "How busy a board is, 0 to 1.", ("gpu",)),
    Family("gpu_temperature_celsius", "gauge", "A board's heat.", ("gpu",)),
    Family("owner_active", "gauge", "1 while the machine is its owner's."),
    Family("config_rejected", "gauge", "1 while the latest edit is not in force."),
    Family("process_resident_bytes", "gauge", "Memory of the agent's own process."),
)
"""What is read when somebody asks."""

FAMILIES = (*COUNTED, *LOOKED_UP)
