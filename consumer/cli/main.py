"""The command line. Exit codes: 0 success, 1 failure, 2 usage or configuration error, 130 interrupted."""

import json
import os
import random
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from consumer import bootstrap
from consumer.cli import help_pages, limits, quarantine, tables
from consumer.cli.files import read_contents, read_records
from consumer.engine.errors import BreakerOpen, SettingsError, Unavailable
from consumer.monitoring import logs
from consumer.settings import CoreSettings, RecordSettings, Settings, is_aws, load
from consumer.stores.aws import IMPATIENT, unavailable

if TYPE_CHECKING:
    from consumer.leases.origin import Application

app = typer.Typer(
    name="consumer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(limits.app, name="limits")
app.add_typer(quarantine.app, name="quarantine")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
FILE_HELP = "An event, a JSON array of events, events as lines, or a captured Lambda event; - is standard input."
EventFile = Annotated[str, typer.Argument(metavar="FILE", help=FILE_HELP)]
InvocationFile = Annotated[
    str, typer.Argument(metavar="FILE", help="As for `apply`, or what a mapping sent to its failure destination.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from consumer.daemon import java

        print(java.versions())
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the versions and exit.")
    ] = False,
) -> None:
    """Keeps gamblers' spending limits up to date from a Kinesis stream. Settings come from the environment."""


@app.command(hidden=True)
def process() -> None:
    """The record processor of one shard. The daemon starts it; by hand it only waits for the daemon's messages."""
    # __main__ has answered `consumer process`; this is here for --help


@app.command()
def run() -> None:
    """Run the service: the daemon, a record processor a shard, metrics and health. Ends well on SIGTERM."""
    from consumer.supervisor import start

    settings = load(Settings)
    logs.configure(settings.log_level)
    raise typer.Exit(start.run(settings, os.environ, connect=partial(_application, settings)))


def _application(settings: Settings) -> "Application":
    """Leases and stream, asked once each and not waited for."""
    from consumer.leases.origin import Application

    kinesis, dynamodb = (bootstrap.client(settings, service, IMPATIENT) for service in ("kinesis", "dynamodb"))
    return Application(settings.application_name, settings.stream_name, kinesis, dynamodb)


@app.command()
def provision(
    stream: Annotated[int | None, typer.Option(metavar="SHARDS", help="Make the stream too.", min=1)] = None,
    bucket: Annotated[bool, typer.Option("--bucket", help="Make the quarantine's bucket too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made.")] = False,
    forget_leases: Annotated[
        bool,
        typer.Option(
            "--forget-leases", help="Give up every checkpoint first: reading starts over at CONSUMER_START_AT."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --forget-leases: do not ask.")] = False,
) -> None:
    """Make the tables the service needs, and the first leases. Safe to run again: nothing that exists is touched."""
    from consumer.admin import provision as provisioning
    from consumer.admin.forget_leases import forget

    settings = load(Settings)
    clients = provisioning.Clients(
        bootstrap.client(settings, "kinesis"), bootstrap.client(settings, "dynamodb"), bootstrap.client(settings, "s3")
    )
    with unavailable("provisioning"):
        if forget_leases:
            forget(settings, clients.dynamodb, lambda question: yes or typer.confirm(question, abort=True), print)
        steps = provisioning.plan(clients, provisioning.wanted(settings, shards=stream, bucket=bucket))
        if dry_run:
            sys.stdout.writelines(f"{step}\n" for step in steps)
        else:
            provisioning.apply(steps, print)


@app.command()
def properties() -> None:
    """Print the daemon's effective properties: what ships, and what the settings say."""
    from consumer.daemon import memory
    from consumer.daemon import properties as daemon

    settings = memory.fitted(load(Settings), memory.limit())
    shipped = daemon.read(settings.properties / "consumer.properties")
    sys.stdout.write(daemon.render(shipped, settings, settings.worker_id or "(made up at start)"))


@app.command()
def doctor(
    as_json: Json = False,
    live: Annotated[bool, typer.Option("--live", help="Only ask the running worker whether it lives.")] = False,
) -> None:
    """Check what the service needs: Java, jars, timeouts, credentials, stream, tables, leases, quarantine."""
    from consumer.admin.doctor import examine
    from consumer.cli.probe import ask

    if live:
        life = ask(os.environ)
        print(life.to_json() if as_json else life)
        raise typer.Exit(not life.ok)
    findings = list(examine(load(Settings), os.environ))
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings]))
    else:
        for finding in findings:
            word = Text("ok   ", "green") if finding.ok else Text("FAIL ", "bold red")
            tables.console().print(word + str(finding), soft_wrap=True)
    raise typer.Exit(not all(finding.ok for finding in findings))


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    lag: Annotated[bool, typer.Option("--lag/--no-lag", help="Read one record a shard to learn the lag.")] = True,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="With --watch: from look to look.", min=1)] = 5.0,
    as_json: Json = False,
) -> None:
    """Show shards, owners, checkpoints, lag, workers, leader and quarantine, as KCL's tables and the stream tell."""
    from consumer.admin.observer import Observer
    from consumer.cli import status

    observer = Observer.of(load(Settings))
    look = partial(observer.look, lag=lag)
    if watch:
        status.watch(look, every, as_json=as_json)
    else:
        status.show(look(), as_json=as_json)


@app.command()
def put(  # noqa: PLR0913 - the options of the command
    file: Annotated[str | None, typer.Argument(metavar="FILE", help=FILE_HELP)] = None,
    generate: Annotated[int, typer.Option(metavar="N", help="Put N made-up events too.", min=0)] = 0,
    users: Annotated[int, typer.Option(help="How many users the made-up events have.", min=1)] = 100,
    seed: Annotated[int | None, typer.Option(help="Makes the made-up events the same again.")] = None,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Put the records as they are, also what is no event.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before made-up events go to AWS.")] = False,
) -> None:
    """Put events on the stream, by user, and again what Kinesis rejects."""
    from consumer.admin.put import outgoing, put, refuse_poison
    from consumer.limits.sample import histories

    if file is None and not generate:
        raise typer.BadParameter("give a FILE, or --generate N")
    settings = load(Settings)
    given = read_records(file) if file is not None else []
    if not raw:
        refuse_poison(settings, file or "", given)
    if generate and not yes and is_aws(settings.endpoint_of("kinesis")):
        _confirm(f"put {generate} made-up events on the stream {settings.stream_name} in {settings.region}")
    records = [outgoing(record.data) for record in given]
    chosen = random.randrange(2**32) if seed is None else seed
    records += [outgoing(sample.data) for sample in histories(random.Random(chosen), generate, users)]
    with _progress() as bar:
        task = bar.add_task("put", total=len(records))
        count = put(
            bootstrap.client(settings, "kinesis"), settings.stream_name, records, lambda n: bar.advance(task, n)
        )
    print(f"put {count} records on {settings.stream_name}" + (f", seed {chosen}" if generate else ""))


@app.command()
def apply(file: EventFile, as_json: Json = False) -> None:
    """Fold a file of events without AWS: the very same processing, kept in memory."""
    from consumer.cli.apply import apply

    applied = apply(load(RecordSettings), read_records(file), bootstrap.now_millis())
    if as_json:
        print(json.dumps(applied.to_json()))
        return
    console = tables.console()
    console.print(tables.limits_table(applied.limits))
    console.print(tables.outcomes_table(applied.to_json()["outcomes"], applied.warnings))
    if applied.quarantined:
        console.print(tables.quarantine_table(applied.quarantined))


@app.command("lambda-invoke")
def lambda_invoke(file: InvocationFile) -> None:
    """Run the Lambda handler here, on a file of events or on a captured Lambda event; print its answer."""
    from consumer.aws_lambda.handler import MalformedInvocation
    from consumer.cli.invoke import invoke

    settings = load(CoreSettings)
    logs.configure(settings.log_level)
    complete = True
    try:
        for invoked in invoke(settings, read_contents(file), file):
            print(json.dumps(invoked.answer))
            complete &= invoked.complete
            if invoked.missing:
                _complain([invoked.missing])
    except MalformedInvocation as malformed:
        raise SettingsError([f"{file}: {malformed}"]) from None
    except BreakerOpen as stop:
        _complain([str(stop)])
        raise typer.Exit(1) from None
    raise typer.Exit(not complete)


def main() -> None:
    """The `consumer` command."""
    try:
        try:
            help_pages.with_pages(typer.main.get_command(app))(prog_name="consumer")
        finally:
            if sys.stdout:  # None when it was closed before the start
                sys.stdout.flush()
    except SettingsError as wrong:
        _fail(2, wrong.problems)
    except Unavailable as fault:
        _fail(1, [str(fault)])
    except BrokenPipeError:
        _fail(1, [])
    except OSError as error:
        _fail(1, [str(error)])


def _fail(code: int, problems: list[str]) -> NoReturn:
    _complain(problems)
    # Python tries once more to write what standard output did not take, and prints a traceback
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _confirm(deed: str) -> None:
    if not sys.stdin.isatty():
        raise SettingsError([f"--yes is needed to {deed}: there is no terminal to ask on"])
    typer.confirm(f"{deed[0].upper()}{deed[1:]}?", abort=True)


def _complain(problems: list[str]) -> None:
    sys.stderr.writelines(f"consumer: {problem}\n" for problem in problems)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=tables.console(error=True))
