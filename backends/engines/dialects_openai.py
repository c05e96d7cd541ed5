"""OpenAI's dialect, and Azure's way of it: the way out (pure).

Only what is named here is passed on: a provider refuses a request with a field that it does not
know, and what a coordinator adds for its own nodes is nobody else's business.

Source:
    OpenAI API reference, "Create chat completion" and "Create completion"; Azure OpenAI REST
    reference, "Data plane inference" (classic path) and "v1 API".
"""

from urllib.parse import quote, urlsplit

from ...config.external import External
from .asked import BadRequest, one_prompt
from .base import Prompt
from .dialects import Call, messages, tools

SAMPLING = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
)
CHAT = (
    *SAMPLING,
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "verbosity",
)
COMPATIBLE = ("top_k", "min_p", "repetition_penalty", "chat_template_kwargs")
"""Known to the servers that speak the dialect, and refused by OpenAI itself."""

MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id")

NEWER_FIELD_SINCE = "2024-09-01"
"""Azure's first dated version that knows ``max_completion_tokens``."""


def call(external: External, model: str, prompt: Prompt) -> Call:
    """A request in this dialect.

    Args:
        external: Where to, and what the operator allows.
        model: What the provider calls it.
        prompt: The request; its endpoint is ``chat`` or ``text``.

    Raises:
        BadRequest: It asks for what cannot be had.
    """
    body = prompt.body
    if body.get("n") not in (None, 1):
        raise BadRequest(field="n", must="be 1")
    is_chat = prompt.endpoint == "chat"
    names = CHAT if is_chat else SAMPLING
    if not _is_openai_itself(external):
        names = (*names, *COMPATIBLE)
    asked = {name: body[name] for name in names if body.get(name) is not None}
    if is_chat:
        _ = tools(body)
        asked["messages"] = [
            {name: message[name] for name in MESSAGE if name in message}
            for message in messages(body)
        ]
    else:
        asked["prompt"] = one_prompt(body.get("prompt"))
    most = min(prompt.max_tokens, external.max_output_tokens)
    limit = _limit_field(external) if is_chat else "max_tokens"
    asked |= {"model": model, limit: most, "stream": True}
    asked["stream_options"] = {"include_usage": True}
    kept = {name: value for name, value in asked.items() if name not in external.drop}
    path = "/chat/completions" if is_chat else "/completions"
    return Call(target(external, model, path), {}, kept)


def target(external: External, model: str, path: str) -> str:
    """Path and query of a call.

    Args:
        external: Whose URL; Azure's may end at the resource or bear its usual path.
        model: What the provider calls it; Azure's classic path names it.
        path: Below the API's root, such as ``/chat/completions``; ``/models`` is no matter of
            one deployment.
    """
    base = urlsplit(external.url).path.rstrip("/")
    if external.dialect != "azure":
        return base + path
    if external.api_version is None:
        return f"{base or '/openai/v1'}{path}"
    base = base or "/openai"
    named = "" if path == "/models" else f"/deployments/{quote(model, safe='')}"
    return f"{base}{named}{path}?api-version={quote(external.api_version, safe='')}"


def _is_openai_itself(external: External) -> bool:
    host = urlsplit(external.url).hostname or ""
    return external.dialect == "azure" or host == "api.openai.com" or host.endswith(".openai.com")


def _limit_field(external: External) -> str:
    if external.length_field != "auto":
        return external.length_field
    is_newer = _is_openai_itself(external) and (
        external.api_version is None or external.api_version >= NEWER_FIELD_SINCE
    )
    return "max_completion_tokens" if is_newer else "max_tokens"
