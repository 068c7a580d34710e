"""The fingerprint of engine.repository, computed by msgspec: a write needs one, and this takes a third of the CPU."""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from consumer.engine.projection import Plain
from consumer.engine.repository import fingerprint

_to_json = msgspec.json.Encoder(decimal_format="string", order="sorted").encode


def version_of(attributes: Mapping[str, Plain]) -> str:
    """Equal to `fingerprint(attributes)`. The json module escapes what is not ASCII, and DEL; msgspec does not."""
    try:
        text = _to_json(attributes)
    except UnicodeEncodeError:
        return fingerprint(attributes)  # a lone surrogate
    if not text.isascii() or b"\x7f" in text:
        return fingerprint(attributes)
    return blake2b(text, digest_size=16).hexdigest()
