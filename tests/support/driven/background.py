"""Runs a function in a thread while a block does something else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Runs `work` in a thread and sets its event at the end of the block, which raises what `work` raised."""
    over, failed = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            work(over)
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]
