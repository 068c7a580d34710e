"""Work that goes on while a block does something else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Runs `work` in a thread until the block ends, which sets the event; its error becomes the block's."""
    over, failed = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            work(over)
        except Exception as error:  # noqa: BLE001 - raised where the work was asked for
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
