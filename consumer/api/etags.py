"""Entity tags: whether the answer is still the one that the caller has."""

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

_TAGS = re.compile(r'\s*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')


def etag(answer: Mapping[str, Any], versions: Iterable[str]) -> str:
    """A strong tag, with its quotes, for an answer in JSON and the versions of the stored limits in it.

    `asOf` does not count: it is another one in every answer. What depends on the time, such as `resetOverdue`, does.
    """
    content = {name: value for name, value in answer.items() if name != "asOf"}
    whole = json.dumps([content, *versions], sort_keys=True)
    return f'"{blake2b(whole.encode(), digest_size=16).hexdigest()}"'


def is_known(if_none_match: Iterable[str], tag: str) -> bool:
    """Whether the caller has the answer with this tag. The headers If-None-Match hold tags, or `*` for any."""
    given = ",".join(if_none_match)
    # RFC 9110: the comparison is weak, so `W/` does not matter.
    return given.strip() == "*" or tag in _listed(given)


def _listed(given: str) -> list[str]:
    """The tags of a list up to its first fault."""
    found, place = [], 0
    while match := _TAGS.match(given, place):
        found.append(match[1])
        place = match.end()
    return found
