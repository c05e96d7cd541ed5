"""A child that speaks the engine's messages and misbehaves as it is told; no engine in it.

``python engine_faults.py PLAN SOCKET PARENT``: the plan is a word, or a word and a number of
tokens, as in ``dies:3``. Every answer says ``w0 w1 w2 ...``, one word a token.
"""

import os
import signal
import sys
import time

from poolhand.backends.engines.leash import hold_to_parent
from poolhand.backends.engines.messages import (
    Begun,
    Cancel,
    Ended,
    Generate,
    Hello,
    LoadFailed,
    LoadModel,
    ModelLoaded,
    Quit,
    Refused,
    Row,
    Stats,
    Tick,
    Tokens,
    Unload,
    Unloaded,
)
from poolhand.backends.engines.pipe import Pipe

BACKLOG_BYTES = 2**16
CONTEXT_TOKENS = 1000


class Script:
    """One child with one plan."""

    def __init__(self, pipe: Pipe, plan: str, raw: int) -> None:
        self.raw = raw
        self.pipe = pipe
        self.plan, _, number = plan.partition(":")
        self.after_tokens = int(number or 0)
        self.running: dict[int, tuple[int, int]] = {}
        self.said = 0
        self.leaving = False

    def run(self) -> None:
        if self.plan == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while not self.leaving and not self.pipe.is_closed:
            free = self.running and self.pipe.backlog_bytes < BACKLOG_BYTES
            pause_s = {"slow": 0.02, "flood": 0.0}.get(self.plan, 0.001)
            for message in self.pipe.exchange(pause_s if free else 0.05):
                self.take(message)
            if free:
                self.step()
            if self.plan != "silent":
                self.pipe.say(Tick())

    def take(self, message: object) -> None:
        match message:
            case LoadModel():
                self.pipe.say(Hello("0", "none"))
                if self.plan == "load_failed":
                    self.pipe.say(LoadFailed("bad_model", "a shard is missing"))
                elif self.plan == "no_memory":
                    self.pipe.say(LoadFailed("out_of_memory", "no room"))
                elif self.plan != "never_ready":
                    self.pipe.say(ModelLoaded(CONTEXT_TOKENS))
            case Generate():
                self.begin(message)
            case Cancel():
                self.running.pop(message.answer, None)
                self.tell()
            case Unload() if self.plan != "deaf":
                self.pipe.say(Unloaded())
            case Quit() if self.plan != "deaf":
                self.leaving = True
            case _:
                pass

    def begin(self, message: Generate) -> None:
        if not message.body.get("messages"):
            self.pipe.say(Refused(message.answer, "bad_request", "messages must not be empty"))
        elif "too long" in str(message.body):
            self.pipe.say(Refused(message.answer, "context", "", 1234, CONTEXT_TOKENS))
        else:
            self.pipe.say(Begun(message.answer, 5))
            self.running[message.answer] = (0, message.max_tokens)
            self.tell()

    def step(self) -> None:
        if self.plan == "silent" and self.said >= self.after_tokens:
            time.sleep(60)
        rows: list[Row] = []
        for answer, (done, most) in list(self.running.items()):
            rows.append(Row(answer, 1, f"w{done}" if done == 0 else f" w{done}"))
            self.running[answer] = (done + 1, most)
        self.said += len(rows)
        self.pipe.say(Tokens(tuple(rows)))
        if self.after_tokens and self.said >= self.after_tokens:
            self.misbehave()
        for answer, (done, most) in list(self.running.items()):
            if done >= most:
                del self.running[answer]
                self.pipe.say(Ended(answer, "length", 5, done, None))
                self.tell()

    def misbehave(self) -> None:
        match self.plan:
            case "dies":
                os._exit(7)
            case "leaves":
                self.leaving = True
            case "garbage":
                os.write(self.raw, b"\xff\xff\xff\xff garbage")
                time.sleep(60)
            case "hangs_up":
                self.pipe.drain(1)
                time.sleep(60)
            case _:
                pass

    def tell(self) -> None:
        self.pipe.say(Stats(len(self.running), 0, 0, 0, self.said))


def main(plan: str, descriptor: str, parent: str) -> None:
    hold_to_parent(int(parent))
    sys.stderr.write(f"plan {plan}\n")
    if plan == "environment":
        sys.stderr.write("\n".join(f"{name}={value}" for name, value in os.environ.items()))
        sys.exit(3)
    raw = os.dup(int(descriptor)) if plan.startswith("garbage") else -1
    Script(Pipe.inherited(int(descriptor)), plan, raw).run()


if __name__ == "__main__":
    main(*sys.argv[1:4])
