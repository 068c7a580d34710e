"""`consumer status --serve`: what is refused before anything is read, in one line."""

import socket

import pytest

from tests.support.driven import commands

SOUND = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "CONSUMER_STREAM_NAME": "s",
    "CONSUMER_QUARANTINE": "dir:q",
}


def status(*arguments: str) -> tuple[int, str, list[str]]:
    run = commands.in_text(commands.run("status", *arguments, environment=SOUND))
    return run.returncode, run.stdout, run.stderr.splitlines()


@pytest.mark.parametrize("other", [("--watch",), ("--json",), ("--watch", "--json")])
def test_it_cannot_be_combined_with_what_prints(other: tuple[str, ...]) -> None:
    assert status("--serve", "127.0.0.1:0", *other) == (
        2,
        "",
        ["consumer: --serve cannot be combined with --watch or --json"],
    )


@pytest.mark.parametrize("address", ["9465", "127.0.0.1", "127.0.0.1:http", ":9465", ""])
def test_a_wrong_address_is_refused(address: str) -> None:
    assert status("--serve", address) == (2, "", [f"consumer: --serve: {address} is not HOST:PORT"])


def test_an_address_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out, lines = status("--serve", address)
    assert (code, out, len(lines)) == (2, "", 1)
    assert lines[0].startswith(f"consumer: --serve: cannot listen on {address}: Address already in use")
