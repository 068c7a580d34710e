"""Aggregates of the Kinesis Producer Library, after its published format (aggregation-format.md).

magic (4 bytes) | AggregatedRecord as protobuf | MD5 of the protobuf (16 bytes)

message AggregatedRecord {
  repeated string partition_key_table     = 1;
  repeated string explicit_hash_key_table = 2;
  repeated Record records                 = 3;
}
message Record {
  required uint64 partition_key_index     = 1;
  optional uint64 explicit_hash_key_index = 2;
  required bytes  data                    = 3;
  repeated Tag    tags                    = 4;
}
message Tag { required string key = 1; optional string value = 2; }
"""

import hashlib
import struct

MAGIC = bytes([0xF3, 0x89, 0x9A, 0xC2])
PARTITION_KEY = "u-7Qd2"


def aggregate(*user_records: bytes) -> bytes:
    """One aggregate of the records, all with the same partition key."""
    return sealed(message(*user_records))


def message(*user_records: bytes) -> bytes:
    packed = (text(3, number(1, 0) + text(3, data)) for data in user_records)
    return text(1, PARTITION_KEY.encode()) + b"".join(packed)


def sealed(body: bytes) -> bytes:
    """Adds the magic bytes and a valid checksum."""
    return MAGIC + body + hashlib.md5(body).digest()


def text(field: int, content: bytes) -> bytes:
    """A length-delimited field: a string, bytes, or a message."""
    return tag(field, 2) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    return tag(field, 0) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    return tag(field, 1) + struct.pack("<Q", value)


def fixed32(field: int, value: int) -> bytes:
    return tag(field, 5) + struct.pack("<I", value)


def tag(field: int, wire_type: int) -> bytes:
    return varint(field << 3 | wire_type)


def varint(value: int) -> bytes:
    """Seven bits per byte, lowest first; the eighth bit says that more bytes follow."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
