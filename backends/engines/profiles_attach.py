"""A server of any kind that runs already (pure)."""

from collections.abc import Mapping
from types import MappingProxyType

from .profiles import CannotServe, Launch, Plan


class AttachProfile:
    """Whatever speaks OpenAI's dialect; nothing is asked of it that not all of them know."""

    name = "attach"
    takes_socket = False
    ready = "/v1/models"
    tells_ready = False
    asks: Mapping[str, object] = MappingProxyType({"stream_options": {"include_usage": True}})
    renamed: Mapping[str, str] = MappingProxyType({})
    sleep: tuple[str, str] | None = None

    def adapted(self, number: int | None) -> Mapping[str, object]:
        """Nothing: whoever started it has chosen what it serves."""
        del number
        return {}

    def launch(self, plan: Plan) -> Launch:
        """Refuse: it runs already."""
        del plan
        problem = "an attached server is not started here"
        raise CannotServe(problem)
