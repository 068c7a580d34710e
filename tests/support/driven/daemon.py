"""The MultiLangDaemon's side of the pipe, simulated in this process. It speaks the line protocol of KCL 3."""

import base64
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from consumer.kcl.retry import Runtime
from tests.support.generators.events import START, encode

Message: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[str | None, int | None]


@dataclass
class Silence:
    """Sends nothing for `seconds` on the runtime's clock."""

    seconds: float
    runtime: Runtime
    _end: float | None = None

    def last(self, most: float = math.inf) -> bool:
        """Lets up to `most` seconds pass. Returns whether the silence is over."""
        now = self.runtime.clock()
        self._end = now + self.seconds if self._end is None else self._end
        self.runtime.sleep(max(0.0, min(self._end - now, most)))
        return self.runtime.clock() >= self._end


Step: TypeAlias = "Message | Silence | Callable[[], object]"
"""A message to send, a silence before the next one, or a function to call before it is sent."""

SHARD = "shardId-000000000000"
INITIALIZE: Message = {
    "action": "initialize",
    "shardId": SHARD,
    "sequenceNumber": "TRIM_HORIZON",
    "subSequenceNumber": 0,
}
LEASE_LOST: Message = {"action": "leaseLost"}
SHARD_ENDED: Message = {"action": "shardEnded"}
SHUTDOWN_REQUESTED: Message = {"action": "shutdownRequested"}

Answer: TypeAlias = "str | Message | None"
"""To a checkpoint: None if it was made, else the name of a Java exception, or an invalid answer."""

MADE: Answer = None
HANG_UP: Answer = ""


def batch(*records: Message, behind: int | None = 0) -> Message:
    return {"action": "processRecords", "records": list(records), "millisBehindLatest": behind}


def delivered(number: int, event: object, sub: int = 0) -> Message:
    """An event, or bytes, as the daemon delivers them."""
    data = event if isinstance(event, bytes) else encode(event)
    return raw(number, base64.b64encode(data).decode(), sub)


def raw(number: int, data: object, sub: int = 0) -> Message:
    return {
        "action": "record",
        "data": data,
        "partitionKey": "u-7Qd2",
        "sequenceNumber": f"{number}",
        "subSequenceNumber": sub,
        "approximateArrivalTimestamp": START,
    }


class Daemon:
    """Both ends of the child's pipe. The child reads `steps` and answers; what it writes is parsed here.

    answers  to checkpoints, in order; the last one is repeated
    asked    the requested checkpoints: sequence number and sub-sequence number
    made     those of them that were made
    vain     how many requests repeated the last checkpoint, which KCL confirms without writing it
    done     the actions that the child has reported as done
    """

    def __init__(self, steps: Iterable[Step], answers: Sequence[Answer] = (MADE,)) -> None:
        self.requested: list[Place] = []
        self.made: list[Place] = []
        self.vain = 0
        self.done: list[str] = []
        self._steps = deque(steps)
        self._answers = deque(answers)
        self._reply: str | None = None
        self._under_way = ""
        self._last: Place = (INITIALIZE["sequenceNumber"], INITIALIZE["subSequenceNumber"])

    def readline(self) -> str:
        """The next message; empty, as at the end of a file, once all are sent."""
        if self._reply is not None:
            line, self._reply = self._reply, None
            return line
        while self._steps:
            step = self._steps.popleft()
            if isinstance(step, Silence):
                step.last()
            elif not callable(step):
                assert not self._under_way, f"{self._under_way} is not done"
                self._under_way = step["action"]
                if step["action"] == "initialize":
                    self._last = (step["sequenceNumber"], step["subSequenceNumber"])
                return _line(step)
            else:
                step()
        return ""

    def is_readable(self, seconds: float) -> bool:
        """Whether a message is sent within so many seconds."""
        while self._steps and isinstance(step := self._steps[0], Silence):
            if not step.last(seconds):
                return False
            self._steps.popleft()
        return True

    def write(self, text: str) -> None:
        for line in filter(None, text.split("\n")):
            message = json.loads(line)
            if message["action"] == "checkpoint":
                self._checkpoint((message["sequenceNumber"], message["subSequenceNumber"]))
            else:
                assert message == {"action": "status", "responseFor": self._under_way}
                self.done.append(self._under_way)
                self._under_way = ""

    def flush(self) -> None:
        """Does nothing: `write` has already parsed everything."""

    def _checkpoint(self, place: Place) -> None:
        if place == self._last:
            self.vain += 1
            self._reply = _line(_answer(place, None))
            return
        self.requested.append(place)
        answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, dict):
            self._reply = _line(answer)
        else:
            self._reply = "" if answer == HANG_UP else _line(_answer(place, answer))
        if answer is MADE:
            self.made.append(place)
            self._last = place


def _answer(place: Place, error: str | None) -> Message:
    return {"action": "checkpoint", "sequenceNumber": place[0], "subSequenceNumber": place[1], "error": error}


def _line(message: Message) -> str:
    return json.dumps(message) + "\n"
