"""Polls the limits table while workers write to it. No state may ever go back."""

import threading
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.support.driven.scenario import Stage

PAUSE_SECONDS = 0.2


class Watch:
    """Polls during its block. `polls`: how often; `went_back`: the keys whose state lost an event."""

    def __init__(self, stage: Stage, pause: float = PAUSE_SECONDS) -> None:
        self.polls = 0
        self.went_back: list[tuple[str, str]] = []
        self._stage = stage
        self._pause = pause
        self._seen: dict[tuple[str, str], LimitState] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            try:
                states = self._stage.states()
            except (BotoCoreError, ClientError):
                continue  # the test may have injected this fault
            self._compare(states)

    def _compare(self, states: dict[tuple[str, str], LimitState]) -> None:
        self.polls += 1
        merge = Limits().merge
        self.went_back += [
            key for key, before in self._seen.items() if key not in states or merge(states[key], before) != states[key]
        ]
        self._seen = states
