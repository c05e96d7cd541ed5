"""llama.cpp's server, as llama-cpp-python 0.3.36 carries it (pure)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ...config.gguf_names import SHARD, is_projector
from .profiles import SERVED_NAME, CannotServe, Launch, Plan, boards, listen_on_port


class LlamacppProfile:
    """``llama-server``, for one GGUF file or its first shard.

    ``/slots`` would show prompts, so it is switched off; the socket's path has to end in
    ``.sock``.
    """

    name = "llamacpp"
    takes_socket = True
    ready = "/health"
    tells_ready = True
    asks: Mapping[str, object] = MappingProxyType(
        {
            "stream_options": {"include_usage": True},
            "timings_per_token": True,
            "return_progress": True,
        }
    )
    renamed: Mapping[str, str] = MappingProxyType({"repetition_penalty": "repeat_penalty"})
    sleep: tuple[str, str] | None = None

    def adapted(self, number: int | None) -> Mapping[str, object]:
        """One at full strength, or none: those that are not named are off.

        A request that names none gets them all, whatever the command line has said.
        """
        return {"lora": [{"id": number or 0, "scale": 0.0 if number is None else 1.0}]}

    def launch(self, plan: Plan) -> Launch:
        """The command line; see :meth:`.profiles.Profile.launch`."""
        argv = [*plan.program, "--model", f"{plan.model}/{gguf_file(plan.files)}"]
        argv += ["--alias", SERVED_NAME]
        argv += ["--host", plan.socket_path] if plan.socket_path else listen_on_port(plan)
        argv += ["--parallel", str(plan.max_running), "--metrics", "--no-slots", "--no-webui"]
        argv += ["--offline", "--jinja"]
        if plan.context_tokens is not None:
            # the window is shared out among the slots
            argv += ["--ctx-size", str(plan.context_tokens * plan.max_running)]
        if plan.sleep_after_s > 0:
            argv += ["--sleep-idle-seconds", str(max(1, round(plan.sleep_after_s)))]
        if plan.adapters:
            paths = [f"{one.folder}/{gguf_file(one.files)}" for one in plan.adapters]
            if any(mark in path for path in paths for mark in ',"'):
                problem = "llama.cpp takes no adapter whose path has a comma or a quotation mark"
                raise CannotServe(problem)
            argv += ["--lora-init-without-apply", "--lora", ",".join(paths)]
        eyes = [name for name in sorted(plan.files) if is_projector(name)]
        if eyes and plan.images:
            argv += ["--mmproj", f"{plan.model}/{eyes[0]}"]
        # it knows no --name=value
        more = [part for flag in plan.flags for part in flag.split("=", 1)]
        return Launch((*argv, *more), {"LLAMA_API_KEY": plan.key, **boards(plan)})


def gguf_file(files: Sequence[str]) -> str:
    """The file that the server is to open.

    Args:
        files: Names in the build's folder.

    Raises:
        CannotServe: There is none, or more than one that could be meant, or a shard is missing.
    """
    found = sorted(name for name in files if name.endswith(".gguf") and not is_projector(name))
    shards = [(SHARD.search(name), name) for name in found]
    first = [name for shard, name in shards if shard is None or int(shard[1]) == 1]
    if len(first) != 1:
        problem = f"llama.cpp takes one GGUF model, and {len(first)} are here"
        raise CannotServe(problem)
    if (shard := SHARD.search(first[0])) is not None:
        name, total = first[0][: shard.start()], int(shard[2])
        wanted = {f"{name}-{nth:05}-of-{total:05}.gguf" for nth in range(1, total + 1)}
        if missing := len(wanted.difference(found)):
            problem = f"the GGUF model has {missing} of {total} shards missing"
            raise CannotServe(problem)
    return first[0]
