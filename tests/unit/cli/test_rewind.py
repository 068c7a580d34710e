"""`consumer rewind`: what it shows, and what it asks for before it calls AWS."""

import io
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest
import typer
from rich.console import Console

from consumer.admin.rewind import Plan
from consumer.cli import rewind_tables
from consumer.cli.rewind import confirm
from consumer.leases.kcl_tables import Lease
from consumer.leases.rewinding import Effect, First, Move, Place
from tests.support.driven import commands

ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "CONSUMER_STREAM_NAME": "s",
    "CONSUMER_QUARANTINE": "dir:q",
}
FIRST, SECOND, THIRD = (f"shardId-00000000000{number}" for number in range(3))
NUMBER = "49590338271490256608559692538361571095921575989136588898"
AT = Place(NUMBER, First(int(NUMBER) + 1, 1_700_000_000.0))
HORIZON = replace(AT, checkpoint="TRIM_HORIZON")


def lease(shard: str, checkpoint: str = NUMBER, sub: int = 0) -> Lease:
    return Lease(shard, None, checkpoint, sub, 1, 0)


def planned(*moves: Move) -> Plan:
    return Plan("app", "events", "origin", {}, moves)


def shown(plan: Plan) -> list[str]:
    console = Console(file=io.StringIO(), width=80, highlight=False, markup=False)
    console.print(rewind_tables.whole(plan))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_plan_has_a_row_for_each_shard() -> None:
    back = Move(FIRST, Effect.READS_AGAIN, None, open=False, target=HORIZON, seconds=11_520)
    skip = Move(SECOND, Effect.SKIPS, lease(SECOND, sub=3), open=True, target=Place(NUMBER, None), seconds=45)
    gone = Move(THIRD, Effect.LEFT_THE_STREAM, lease(THIRD, "SHARD_END"), open=False)
    lines = shown(planned(back, skip, gone))
    assert all(len(line) <= 80 for line in lines)
    text = " ".join(" ".join(lines).split())
    assert f"{FIRST} - TRIM_HORIZON reads 3.2 h again, from" in text
    assert "2023-11-14 22:13:20 UTC, its lease is created, closed" in text
    assert f"{SECOND} …989136588898-3 …989136588898 skips 45 s unread" in text
    assert f"{THIRD} SHARD_END - has left the stream: nothing" in text
    assert "2 shards to set, up to 3.2 h of records are read again. Up to 45 s of unread records of 1 shard" in text


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (Move(FIRST, Effect.STAYS, lease(FIRST), open=True), "stays"),
        (Move(FIRST, Effect.STAYS, None, open=True), "has no lease: a worker starts it"),
        (Move(FIRST, Effect.STAYS, None, open=False, target=Place(NUMBER, None)), "its lease is created, closed"),
        (Move(FIRST, Effect.READS_AGAIN, lease(FIRST), open=True, target=Place(NUMBER, None)), "reads records again"),
        (
            Move(FIRST, Effect.NOT_KNOWN, lease(FIRST), open=True, target=Place(NUMBER, None)),
            "it is not known where it",
        ),
    ],
)
def test_the_words_for_a_shard(move: Move, words: str) -> None:
    assert words in rewind_tables.words(move)


def test_skipped_records_are_counted_and_called_lost() -> None:
    skips = [Move(FIRST, Effect.SKIPS, lease(FIRST), open=True, target=AT, seconds=seconds) for seconds in (60, 7_200)]
    assert rewind_tables.skipped(skips) == (
        "Up to 2.0 h of unread records of 2 shards would be skipped and never applied."
    )
    unknown = [replace(skip, seconds=None) for skip in skips]
    assert rewind_tables.skipped(unknown) == "Unread records of 2 shards would be skipped and never applied."


def test_nothing_to_set_is_said() -> None:
    assert shown(planned(Move(FIRST, Effect.STAYS, lease(FIRST), open=True)))[-1] == (
        "nothing to set: every shard is there already"
    )


SKIPS = Move(FIRST, Effect.SKIPS, lease(FIRST), open=True, target=AT, seconds=7_200)
BACK = Move(SECOND, Effect.READS_AGAIN, lease(SECOND), open=True, target=HORIZON, seconds=60)
SKIP, SET = "1 shard would be skipped and never applied. Skip them?", "Set the checkpoints of "


@pytest.mark.parametrize(
    ("moves", "answers", "asked", "agreed"),
    [
        ([BACK], "y\n", [SET], True),
        ([BACK], "n\n", [SET], False),
        ([BACK], "\n", [SET], False),
        ([SKIPS, BACK], "y\ny\n", [SKIP, SET], True),
        ([SKIPS, BACK], "n\ny\n", [SKIP], False),
        ([SKIPS, BACK], "y\nn\n", [SKIP, SET], False),
    ],
)
def test_skipping_is_asked_for_separately(
    moves: list[Move],
    answers: str,
    asked: list[str],
    *,
    agreed: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
    with nullcontext() if agreed else pytest.raises(typer.Abort):
        confirm(planned(*moves))
    shown = capsys.readouterr()
    assert [question for question in (SKIP, SET) if question in shown.err] == asked
    assert f"{SET}{len(moves)} shard" in shown.err or asked == [SKIP]


def rewind(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.in_text(commands.run("rewind", *arguments, environment=ENVIRONMENT))


@pytest.mark.parametrize("arguments", [("--to", "latest"), ("--to", "latest", "--json")], ids=" ".join)
def test_without_a_terminal_it_must_not_ask(arguments: Sequence[str]) -> None:
    run = rewind(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "consumer: --yes or --dry-run is required: a confirmation needs a terminal, and no --json\n"


def test_a_place_that_is_none_is_one_line() -> None:
    run = rewind("--to", "yesterday", "--dry-run")
    assert (run.returncode, run.stdout) == (2, "")
    [line] = run.stderr.splitlines()
    assert line.startswith("consumer: --to 'yesterday': use trim-horizon, latest, or a time such as ")


def test_without_an_answer_from_aws_it_is_one_line() -> None:
    run = rewind("--to", "latest", "--dry-run", "--json")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "consumer: rewind of application limits-consumer: EndpointConnectionError\n"
