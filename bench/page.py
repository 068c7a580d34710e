"""The page docs/explanation/performance.md, from the stored results of a run: `make bench WRITE=1`."""

from pathlib import Path

from bench import archive_cost, results, sizing, tables
from bench.forks import FORK_FROM
from bench.goals import PEER_MICROS
from bench.results import Results

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results.json")
PICTURES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "explanation" / "performance.md"

_INTRODUCTION = """\
# Performance

What an event costs, measured beside what users would write instead. `make bench` measures it again, and
`make bench WRITE=1` also writes this page and its pictures.
"""

_METHOD = """\
## How it is measured

The load is that of one shard: payments of {users} users by Zipf's law. Each payment is an event of a foreign type and
one PROGRESS_CHANGED for each of the user's three limits (day, week, month): {bytes:.0f} bytes a record.

- The service is the real record processor, `consumer process`, with its default settings. The benchmark is its daemon:
  it writes the lines of the MultiLangDaemon to its pipe. CPU is user and system time of that process, without its
  start.
- The store is a small DynamoDB in memory, in a process of its own, so that only the client's CPU counts. It checks
  keys, versions and conditions.
- The contenders take turns in each round. A ratio compares two runs of one round. The table shows the median.
- After every run the table is compared with an oracle that shares no code with the service. A wrong table is an error.
- *Behind* means that the daemon reports a lag of more than 10 seconds. *Replay* delivers events that were applied
  before; it makes no write.
- From {fork_from} shards on, the record processors of a worker are forks of one process, as in the service. The memory
  of a shard includes its part of that process and the small process that waits for its fork, but not the JVM and the
  supervisor. It is read after three batches of 1,000 events on each shard.
- CPU time depends on the machine. Its goals were set where an event of peer (a) cost {peer_micros:.0f} us at best. It
  is compared with them after multiplication by {peer_micros:.0f} / (peer (a) in the same run).
- The whole worker is the real daemon on MiniStack: the JVM, the record processor and the supervisor.
- The archive has {archived:,} events of the same load in a directory, {an_object:,} in each object. Rebuilding includes
  the writes to an empty table, and verifying includes reading the table. Each runs in one process, without its start:
  20 us an event are 50,000 events a second on a core. `make bench ROWS="sample-shape archive"` measures only this, and
  peer (a), to which it is compared.

The columns *requests* and *writes* are of an event, *MiB* is the memory (PSS) of the process after a round. The figures
below them have no peers: the JVM and its latency are the same for all, and the peers leave retries to boto3.

The peers are in `bench/peers/`, written as the documentation of their libraries shows. All of them make one conditional
update per record, and need their events in order.

| peer | what it is |
|---|---|
| (a) sample shape | the sample of `amazon_kclpy`: the record processor that most people would write first |
| (b) Lambda with Powertools | the batch processor of Powertools for AWS Lambda, invoked with batches of 1,000 records |
| (c) async-kinesis | an asynchronous reader. Its CPU includes reading the stream, which the JVM does for the others |
"""

_GROWTH = """\
## How the cost grows

An event costs its parsing and folding, and its share of a write. Events of one limit in one batch share a write, so the
number of distinct limits decides: **{model}**.

{pictures}
"""

_SIZING = """\
## What a load needs

{table}
A task is a worker on Fargate. The last column is what peer (a) would need in place of the service's record processor.
Prices are those of {region} as of {date}, in dollars a month of {hours} hours, without storage, transfer and fan-out.

```
shards      = events/s / ({shard_use} x min({records:,}, {shard_bytes:,} / bytes of a record))
tasks       = shards / {per_task}, or fewer shards a task if it would need more than Fargate has
vCPU        = events/s of a task x CPU an event of the whole worker / {cpu_use}, rounded up to a size of Fargate
memory      = (JVM + supervisor + shards of a task x PSS a shard) / {memory_use}, rounded up to a size of Fargate
write units = events/s x writes an event, caught up
Kinesis     = shards x hours x ${shard_hour} + million records x ${put_units}
DynamoDB    = million write units x ${write_units}, on demand
Fargate     = tasks x hours x (vCPU x ${vcpu_hour} + GB x ${gb_hour})
```

The PSS a shard is that of the largest measured number of shards ({memory_at}) that the task has.
The writes an event are those of this load: with more users on a shard, fewer events share a write, up to one write for
each event of a limit. The constants are in `bench/sizing.py`.
"""


def page() -> str:
    return _page(results.load(RESULTS))


def _page(found: Results) -> str:
    shown = {table.title: tables.markdown(table) for table in tables.tables(found)}
    machine = ", ".join(f"{name} {value}" for name, value in found.machine.items())
    parts = [
        _INTRODUCTION,
        f"Measured with: {machine}.\n",
        "## CPU an event\n",
        shown["CPU"],
        "## Other figures\n",
        shown["Other figures"],
        _METHOD.format(
            users=tables.USERS,
            bytes=tables.event_bytes(),
            fork_from=FORK_FROM,
            peer_micros=PEER_MICROS,
            archived=archive_cost.EVENTS,
            an_object=archive_cost.OBJECT,
        ),
        _GROWTH.format(model=tables.formula(found), pictures=_pictures(found)),
        _SIZING.format(table=shown["Size"], **_constants()),
    ]
    return "\n".join(parts)


def _pictures(found: Results) -> str:
    return "\n".join(f"![{each.title}: {each.y}, by {each.x}](../images/{picture(each.key)})" for each in found.growth)


def picture(key: str) -> str:
    """The file name of a picture in docs/images."""
    return f"performance-{key}.svg"


def _constants() -> dict[str, object]:
    return {
        "region": sizing.REGION,
        "date": sizing.PRICES_AS_OF,
        "hours": sizing.HOURS,
        "shard_use": sizing.SHARD_USE,
        "records": sizing.SHARD_RECORDS,
        "shard_bytes": sizing.SHARD_BYTES,
        "memory_at": ", ".join(map(str, sizing.MEMORY_AT)),
        "per_task": sizing.SHARDS_PER_TASK[0],
        "cpu_use": sizing.CPU_USE,
        "memory_use": sizing.MEMORY_USE,
        "shard_hour": sizing.SHARD_HOUR,
        "put_units": sizing.PUT_UNITS_MILLION,
        "write_units": sizing.WRITE_UNITS_MILLION,
        "vcpu_hour": sizing.VCPU_HOUR,
        "gb_hour": sizing.GB_HOUR,
    }
