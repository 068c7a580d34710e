"""Whether the memory of a large batch is returned to the system."""

import ctypes
import subprocess
import sys

import pytest

from consumer.kcl.malloc import return_memory

GROWTH = """
import os
from consumer.kcl.malloc import return_memory
from consumer.monitoring.process_metrics import resident_bytes
def batch():
    b"x" * 2**24
batch()
{call}
before = resident_bytes(os.getpid())
batch()
print((resident_bytes(os.getpid()) - before) / 2**24)
"""
"""Prints how much of the second batch is kept. Both are equally large."""


@pytest.mark.parametrize(("call", "least", "most"), [("", 0.9, 1.1), ("return_memory()", -0.1, 0.1)])
def test_the_memory_of_a_large_batch_is_returned(call: str, least: float, most: float) -> None:
    """Without the call, it is kept."""
    script = [sys.executable, "-c", GROWTH.format(call=call)]
    grown = float(subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert least <= grown <= most


def test_another_libc_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    return_memory()
