"""`consumer put`: puts events on the stream, for trials."""

import random
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from consumer import bootstrap
from consumer.admin.files import read_records
from consumer.archive.reading import Damaged
from consumer.cli import tables
from consumer.cli.errors import report
from consumer.cli.parameters import FILE_HELP
from consumer.cli.progress import reading
from consumer.engine.errors import SettingsError
from consumer.settings import LimitSettings, Settings, is_aws, load

if TYPE_CHECKING:
    from consumer.admin.put import Outgoing


def put(  # noqa: PLR0913 - the options of the command
    file: Annotated[str | None, typer.Argument(metavar="FILE", help=FILE_HELP)] = None,
    generate: Annotated[int, typer.Option(metavar="N", help="Put N generated events too.", min=0)] = 0,
    users: Annotated[int, typer.Option(help="Number of users in the generated events.", min=1)] = 100,
    seed: Annotated[int | None, typer.Option(help="Seed of the generated events, to repeat them.")] = None,
    *,
    place: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help="Put all records of an archive, a folder or a prefix unchanged."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Put every record unchanged, even if it is not an event.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation before generated events go to AWS.")
    ] = False,
) -> None:
    """Put events on the stream, with the user as partition key. Records that Kinesis rejects are retried."""
    from consumer.admin.put import outgoing, refuse_poison
    from consumer.limits.sample import histories

    if (file is None and not generate) is (place is None):
        raise typer.BadParameter("give a FILE, or --generate N, or --from PLACE alone")
    settings = load(Settings)
    if generate:
        load(LimitSettings)  # no other projection has generated events
    if place is not None:
        _put_from(settings, place)
        return
    given = read_records(file) if file is not None else []
    if not raw:
        refuse_poison(settings, file or "", given)
    if generate and not yes and is_aws(settings.endpoint_of("kinesis")):
        _confirm(f"put {generate} generated events on the stream {settings.stream_name} in {settings.stream_region}")
    chosen = random.randrange(2**32) if seed is None else seed
    generated = histories(random.Random(chosen), generate, users)
    data = [*(record.data for record in given), *(sample.data for sample in generated)]
    count = _put(settings, [outgoing(each) for each in data])
    print(f"put {count} records on {settings.stream_name}" + (f", seed {chosen}" if generate else ""))


def _put_from(settings: Settings, place: str) -> None:
    from consumer.admin.put import outgoing, put
    from consumer.admin.sources import origin_of

    source, kinesis = origin_of(place).opened(settings), bootstrap.stream_client(settings)
    damage: list[Damaged] = []
    with reading(sum(found.size for found in source.files())) as progress:
        records = (
            outgoing(record.data)
            for record in source.all_records(damage.append, lambda size: progress.advance(size, 0))
        )
        count = put(kinesis, settings.stream_name, records, lambda stored: progress.advance(0, stored))
    print(f"put {count} records on {settings.stream_name}")
    report(*map(str, damage))
    raise typer.Exit(bool(damage))


def _put(settings: Settings, records: Sequence["Outgoing"]) -> int:
    from consumer.admin.put import put

    kinesis = bootstrap.stream_client(settings)
    with tables.progress() as bar:
        task = bar.add_task("put", total=len(records))
        return put(kinesis, settings.stream_name, records, lambda count: bar.advance(task, count))


def _confirm(deed: str) -> None:
    if not sys.stdin.isatty():
        raise SettingsError([f"--yes is required to {deed}: there is no terminal for the confirmation"])
    typer.confirm(f"{deed[0].upper()}{deed[1:]}?", abort=True)
