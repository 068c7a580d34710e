"""The pictures of docs/explanation/architecture.md."""

from docs_generator.drawing import Arrow, Box, picture
from docs_generator.rooms import arrows, direct

PURE, EDGE, AWS, ADDED = "#dcfce7", "#dbeafe", "#ffedd5", "#fee2e2"

WIDE, HIGH = 205, 62
PLACES: dict[str, tuple[float, float, str, str]] = {
    "__main__": (1.5, 0, "the consumer command", EDGE),
    "cli": (2.5, 1, "one module per command", EDGE),
    "pages": (1.5, 1, "pages for people", EDGE),
    "kcl": (0, 2, "one shard and its process", EDGE),
    "aws_lambda": (1, 2, "the Lambda handler", EDGE),
    "admin": (2, 2, "the operator's tools", EDGE),
    "supervisor": (3, 2, "the process tree", EDGE),
    "limit_readers": (0.5, 3, "readers of limits", EDGE),
    "api": (1.5, 3, "the HTTP API", EDGE),
    "access": (2.5, 3, "checks of AWS", EDGE),
    "bootstrap": (0, 4, "the composition root", EDGE),
    "monitoring": (1, 4, "metrics, logs, health", EDGE),
    "leases": (2, 4, "the KCL's tables", EDGE),
    "daemon": (3, 4, "the MultiLangDaemon", EDGE),
    "stores": (0, 5, "DynamoDB, S3, Kinesis", AWS),
    "limits": (1, 5, "what a limit is", PURE),
    "projections": (2, 5, "finds the projection", EDGE),
    "settings": (3, 5, "the environment, checked", EDGE),
    "testing": (2.25, 6, "checks of a projection", PURE),
    "archive": (0.25, 6, "all records as they came", PURE),
    "engine": (1.25, 6, "how a projection is kept", PURE),
}
"""Where each room is drawn, in columns and rows; what it is for, and its colour. Every room must be here."""


def rooms() -> str:
    """The rooms, with the arrows that the imports of today draw."""
    uses = direct(arrows())
    boxes = [
        Box(16 + 240 * column, 16 + 112 * row, WIDE, HIGH, name, [text], fill)
        for name, (column, row, text, fill) in PLACES.items()
    ]
    drawn = [Arrow(room, used) for room in PLACES for used in sorted(uses[room])]
    return picture("The rooms of the package and who uses whom", (957, 766), boxes, drawn)


WAY = [
    Box(16, 122, 130, 62, "Kinesis", ["stream, shards"], AWS),
    Box(196, 40, 205, 78, "MultiLangDaemon", ["JVM with KCL: leases,", "fetches, checkpoints"], EDGE),
    Box(451, 30, 185, 98, "Record processor", ["one process per shard,", "gathers while behind", "consumer/kcl"], EDGE),
    Box(196, 188, 205, 78, "Event source mapping", ["AWS Lambda: fetches,", "checkpoints"], AWS),
    Box(451, 188, 185, 78, "Lambda function", ["one call per batch", "consumer/aws_lambda"], EDGE),
    Box(696, 104, 190, 98, "Core", ["decode, fold, store", "consumer/engine", "consumer/limits"], PURE),
    Box(960, 48, 180, 78, "DynamoDB", ["one item per limit,", "conditional writes"], AWS),
    Box(960, 180, 180, 78, "Quarantine", ["S3 or a directory:", "what cannot be applied"], ADDED),
    Box(696, 252, 190, 78, "Archive", ["S3 or a directory:", "all records, if it is on"], ADDED),
]


def record() -> str:
    """The way of a record."""
    drawn = [
        Arrow("Kinesis", "MultiLangDaemon"),
        Arrow("Kinesis", "Event source mapping"),
        Arrow("MultiLangDaemon", "Record processor", shift=(0, -14)),
        Arrow("Record processor", "MultiLangDaemon", dashed=True, shift=(0, 14)),
        Arrow("Event source mapping", "Lambda function", shift=(0, -14)),
        Arrow("Lambda function", "Event source mapping", dashed=True, shift=(0, 14)),
        Arrow("Record processor", "Core"),
        Arrow("Lambda function", "Core"),
        Arrow("Core", "DynamoDB"),
        Arrow("Core", "Quarantine"),
        Arrow("Record processor", "Archive"),
        Arrow("Lambda function", "Archive"),
    ]
    return picture("The way of a record from Kinesis to DynamoDB", (1156, 346), WAY, drawn)


def processes() -> str:
    """The processes of the service, and which of them ends which."""
    boxes = [
        Box(16, 16, 828, 492, "container", frame=True, fill="#f1f5f9"),
        Box(300, 50, 260, 66, "supervisor", ["consumer run, may be process 1"], EDGE),
        Box(300, 230, 260, 66, "JVM", ["MultiLangDaemon with KCL"], EDGE),
        Box(60, 410, 220, 66, "record processor 1", ["consumer process, shard 1"], EDGE),
        Box(580, 410, 220, 66, "record processor n", ["consumer process, shard n"], EDGE),
        Box(920, 50, 180, 66, "ECS or Kubernetes", ["SIGTERM, later SIGKILL"], AWS),
        Box(920, 230, 180, 66, "Prometheus", ["/metrics, /healthz"], AWS),
    ]
    drawn = [
        Arrow("ECS or Kubernetes", "supervisor", "stops"),
        Arrow("Prometheus", "supervisor", "reads", dashed=True),
        Arrow("supervisor", "JVM", "starts, stops, restarts, kills"),
        Arrow("JVM", "record processor 1", "starts, stops over a pipe"),
        Arrow("JVM", "record processor n", "starts, stops over a pipe"),
    ]
    return picture("The processes of the service and which of them ends which", (1116, 524), boxes, drawn)
