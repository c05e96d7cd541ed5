"""A server with no engine in it that speaks as vLLM, SGLang and llama.cpp's do, and misbehaves.

It takes their command lines. The build's folder may hold a file ``plan``: a word, or a word and
a number of tokens, as in ``dies:3``; without it, the server is steady. Every answer says
``w0 w1 w2 ...``, one word a token, and a prompt has as many tokens as words; for an adapter of
its command line it says ``adapter-1:w0 ...``.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

CONTEXT_TOKENS = 1000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
METRICS: Mapping[str, str] = {
    "vllm": """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="local"}} {running}.0
vllm:num_requests_waiting{{engine="0",model_name="local"}} {waiting}.0
vllm:kv_cache_usage_perc{{engine="0",model_name="local"}} 0.25
vllm:cache_config_info{{block_size="16",engine="0",num_gpu_blocks="250"}} 1.0
vllm:generation_tokens_total{{engine="0",model_name="local"}} {said}.0
""",
    "sglang": """\
sglang:num_running_reqs{{model_name="local",tp_rank="0"}} {running}.0
sglang:num_queue_reqs{{model_name="local",tp_rank="0"}} {waiting}.0
sglang:token_usage{{model_name="local",tp_rank="0"}} 0.25
sglang:num_used_tokens{{model_name="local",tp_rank="0"}} 1000.0
sglang:max_total_num_tokens{{model_name="local",tp_rank="0"}} 4000.0
sglang:generation_tokens_total{{model_name="local"}} {said}.0
""",
    "llamacpp": """\
llamacpp:requests_processing {running}
llamacpp:requests_deferred {waiting}
llamacpp:tokens_predicted_total {said}
""",
}


class Stub:
    """One server with one plan."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        folder = self.after("--model") or self.after("--model-path") or self.after("serve")
        place = Path(folder or "/nowhere")
        self.kind = "llamacpp" if "--model" in argv else "vllm" if "serve" in argv else "sglang"
        plan = (place if place.is_dir() else place.parent) / "plan"
        said = plan.read_text() if plan.exists() else "steady"
        self.plan, _, number = said.strip().partition(":")
        self.after_tokens = int(number or 0)
        variable = {"vllm": "VLLM_API_KEY", "llamacpp": "LLAMA_API_KEY"}.get(self.kind, "")
        arguments = self.after("--config")
        told = Path(arguments).read_text() if arguments else 'api-key: ""'
        self.key = os.environ.get(variable) or json.loads(told.removeprefix("api-key: "))
        self.most = int(
            self.after("--max-num-seqs")
            or self.after("--parallel")
            or self.after("--max-running-requests")
            or 1
        )
        self.room = asyncio.Semaphore(self.most)
        self.open = self.said = self.probes = 0
        self.sleeps: list[str] = []
        self.note = plan.with_name("sleeps")

    def after(self, name: str) -> str | None:
        """What follows a word of the command line."""
        return self.argv[self.argv.index(name) + 1] if name in self.argv else None

    async def run(self) -> None:
        path = self.after("--uds") or self.after("--host") or ""
        if self.plan == "never_ready":
            await asyncio.sleep(60)
        if path.startswith("/"):
            server = await asyncio.start_unix_server(self.meet, path)
        else:
            server = await asyncio.start_server(self.meet, path, int(self.after("--port") or 0))
        leave = asyncio.Event()
        if self.plan == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave.set)
        await leave.wait()
        server.close()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
            headers = {name.lower(): value for name, _, value in lines}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            is_open = target in {"/health", "/ready"}
            if not is_open and headers.get("authorization") != f"Bearer {self.key}":
                await self.answer(writer, 401, {"error": "no"})
            elif method == "POST" and target.startswith("/v1/"):
                await self.complete(reader, writer, json.loads(body))
            else:
                await self.tell(writer, method, target)
        writer.close()

    async def tell(self, writer: asyncio.StreamWriter, method: str, target: str) -> None:
        match target:
            case "/health" | "/ready":
                self.probes += 1
                is_slow = self.plan == "slow_start" and self.probes < 4
                await self.answer(writer, 503 if is_slow else 200, {})
            case "/metrics":
                waiting = max(0, self.open - self.most)
                text = METRICS[self.kind].format(
                    running=self.open - waiting, waiting=waiting, said=self.said
                )
                await self.answer(writer, 200, text)
            case "/v1/models":
                meta = {"max_model_len": CONTEXT_TOKENS, "meta": {"n_ctx": CONTEXT_TOKENS}}
                await self.answer(writer, 200, {"data": [{"id": "local", **meta}]})
            case "/sleep?level=1" | "/wake_up" if method == "POST":
                self.sleeps.append(target)
                self.note.write_text(" ".join(self.sleeps))
                await self.answer(writer, 200, {})
            case _:
                await self.answer(writer, 404, {"error": "no such thing"})

    async def answer(self, writer: asyncio.StreamWriter, status: int, said: object) -> None:
        body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    async def complete(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, object]
    ) -> None:
        text = str(body.get("messages") or body.get("prompt"))
        adapter = self.adapter_of(body)
        if adapter is None or (self.kind != "vllm" and body["model"] != "local"):
            await self.answer(writer, 404, {"error": {"message": "no such model"}})
        elif "too long" in text:
            await self.answer(writer, 400, TOO_LONG[self.kind])
        elif self.plan == "refuses" and "Hi" not in text:
            await self.answer(writer, self.after_tokens, {"error": {"message": text}})
        else:
            self.open += 1
            try:
                async with asyncio.TaskGroup() as both:
                    saying = both.create_task(self.say(writer, body))
                    both.create_task(self.hang_up(reader, saying))
            except* (OSError, EOFError):
                pass
            finally:
                self.open -= 1

    def adapter_of(self, body: dict[str, object]) -> str | None:
        """How each word begins for whatever a request means; ``None``: it is not served."""
        after = {"vllm": "--lora-modules", "sglang": "--lora-paths", "llamacpp": "--lora"}[
            self.kind
        ]
        at = self.argv.index(after) + 1 if after in self.argv else len(self.argv)
        known = [word for word in self.argv[at:] if word.startswith("{")]
        if self.kind == "llamacpp":
            files = self.argv[at].split(",") if after in self.argv else []
            # the real one applies them all for who names none
            every = [{"id": place, "scale": 1} for place in range(len(files))]
            asked = cast("list[dict[str, int]]", body.get("lora") or every)
            places = [one["id"] for one in asked if one["scale"]]
            is_known = all(place < len(files) for place in places)
            return "".join(f"adapter-{place + 1}:" for place in places) if is_known else None
        name = body["model"] if self.kind == "vllm" else body.get("lora_path", "local")
        told = [json.loads(word) for word in known]
        folders = {one.get("name") or one["lora_name"]: Path(list(one.values())[1]) for one in told}
        is_there = name in folders and folders[str(name)].is_dir()
        return "" if name == "local" else f"{name}:" if is_there else None

    async def hang_up(self, reader: asyncio.StreamReader, saying: asyncio.Task[None]) -> None:
        """Whoever hangs up wants no more."""
        gone = asyncio.ensure_future(reader.read())
        await asyncio.wait({gone, saying}, return_when=asyncio.FIRST_COMPLETED)
        saying.cancel()
        gone.cancel()

    async def say(self, writer: asyncio.StreamWriter, body: dict[str, object]) -> None:
        async with self.room:
            writer.write(HEAD % b"text/event-stream")
            is_chat = "messages" in body
            most = cast("int", body["max_tokens"])
            prompt_tokens = len(str(body.get("messages") or body.get("prompt")).split())
            is_probe = "Hi" in str(body) and most == 8
            told = self.told(prompt_tokens, 0)
            await self.send(writer, chunk(is_chat, None, None, told))
            for place in range(most):
                if not is_probe and self.after_tokens == place and place:
                    await self.misbehave(writer)
                await asyncio.sleep(0.02 if self.plan == "slow" else 0.003)
                self.said += 1
                named = f"{self.adapter_of(body)}w{place}"
                word = named if place == 0 else f" {named}"
                told = self.told(prompt_tokens, place + 1)
                await self.send(writer, chunk(is_chat, None, word, told))
            if self.plan != "no_finish" or is_probe:
                await self.send(writer, chunk(is_chat, "length"))
            if self.plan != "no_usage":
                usage = {"prompt_tokens": prompt_tokens, "completion_tokens": most}
                await self.send(writer, {"choices": [], "usage": usage})
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            await writer.drain()

    def told(self, prompt_tokens: int, answered: int) -> dict[str, object]:
        """What each chunk counts, in the words of the server that is played."""
        if self.plan == "no_usage":
            return {}
        if self.kind == "llamacpp":
            return {"timings": {"prompt_n": prompt_tokens, "cache_n": 0, "predicted_n": answered}}
        return {"usage": {"prompt_tokens": prompt_tokens, "completion_tokens": answered}}

    async def send(self, writer: asyncio.StreamWriter, said: object) -> None:
        data = b"data: " + json.dumps(said).encode() + b"\n\n"
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()

    async def misbehave(self, writer: asyncio.StreamWriter) -> None:
        match self.plan:
            case "dies":
                await asyncio.sleep(0.05)
                os._exit(7)
            case "leaves":
                os._exit(0)
            case "cut":
                writer.transport.abort()
                raise EOFError
            case "garbage":
                writer.write(b"11\r\ndata: {garbage\n\n\r\n")
            case "error":
                await self.send(writer, {"error": {"message": "w0", "code": 500}})
            case "silent":
                await asyncio.sleep(60)
            case "stuck":
                time.sleep(60)  # noqa: ASYNC251 - the whole server hangs, and that is the point
            case _:
                pass


TOO_LONG: Mapping[str, object] = {
    "vllm": {
        "error": {
            "message": "This model's maximum context length is 1000 tokens. However, you requested "
            "1244 tokens (1234 in the messages, 10 in the completion).",
            "type": "BadRequestError",
            "code": 400,
        }
    },
    "sglang": {
        "object": "error",
        "message": "The input (1234 tokens) is longer than the model's context length "
        "(1000 tokens).",
        "code": 400,
    },
    "llamacpp": {
        "error": {
            "type": "exceed_context_size_error",
            "message": "too long",
            "n_prompt_tokens": 1234,
            "n_ctx": 1000,
        }
    },
}


def chunk(
    is_chat: bool,  # noqa: FBT001 - one of two shapes
    reason: str | None,
    text: str | None = None,
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    delta: dict[str, str] = {} if text is None else {"content": text}
    said: dict[str, object] = {"delta": delta} if is_chat else {"text": text or ""}
    return {"choices": [{"index": 0, **said, "finish_reason": reason}], **(more or {})}


def main(argv: list[str]) -> int:
    stub = Stub(argv)
    sys.stderr.write(f"plan {stub.plan}\n")
    match stub.plan:
        case "environment":
            sys.stdout.write("\n".join(f"{name}={value}" for name, value in os.environ.items()))
            return 3
        case "load_failed":
            sys.stderr.write("error loading model: missing tensor 'output.weight'\n")
            return 1
        case "no_memory":
            sys.stderr.write("torch.OutOfMemoryError: CUDA out of memory.\n")
            return 1
        case "family":
            # a worker in a session of its own that does not care for SIGTERM
            code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
            worker = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)  # noqa: S603
            sys.stderr.write(f"worker {worker.pid}\n")
        case _:
            pass
    asyncio.run(stub.run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
