"""`consumer notices`: runs the function that sends notices on this machine, on captured events of a table's stream."""

import sys
import time
from collections.abc import Iterator, Sequence

from consumer.admin.captured import Captured, Content
from consumer.admin.invoke import SECONDS, LocalContext
from consumer.aws_lambda.handler import Answer, MalformedInvocation
from consumer.aws_lambda.notices import NoticeFunction
from consumer.engine.messages import InMemoryBus, Message
from consumer.monitoring import logs
from consumer.settings import NoticeSettings


def send(settings: NoticeSettings, contents: Sequence[Content]) -> Iterator[Answer]:
    """Invokes the function with each event. Its metrics go to stderr, like its logs. Raises MalformedInvocation."""
    return _invoked(NoticeFunction.of(settings, lambda line: sys.stderr.write(f"{line}\n")), contents)


def computed(settings: NoticeSettings, contents: Sequence[Content]) -> Sequence[Message]:
    """The notices that `send` would send. Raises MalformedInvocation."""
    bus = InMemoryBus()
    for _ in _invoked(NoticeFunction(bus, settings.thresholds, lambda _line: None), contents):
        pass
    return bus.sent


def _invoked(function: NoticeFunction, contents: Sequence[Content]) -> Iterator[Answer]:
    for content in contents:
        if not isinstance(content, Captured):
            raise MalformedInvocation("not an event of a DynamoDB stream")
        with logs.fields(request_id="local"):
            yield function.handle(content.event, LocalContext(time.monotonic() + SECONDS))
