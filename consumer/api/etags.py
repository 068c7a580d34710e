"""Entity tags: whether the answer is still the one that the caller has."""

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

_TAGS = re.compile(r'\s*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_AS_OF = re.compile(r'-[0-9]{1,16}"$', re.ASCII)


def etag(answer: Mapping[str, Any], versions: Iterable[str]) -> str:
    """A strong tag, with its quotes, for an answer in JSON and the versions of the stored limits in it.

    It ends with `asOf`, if the answer has one. The rest is made from everything else, for example `resetOverdue`, which
    changes with the time.
    """
    content = {name: value for name, value in answer.items() if name != "asOf"}
    whole = json.dumps([content, *versions], sort_keys=True)
    as_of = f"-{answer['asOf']}" if "asOf" in answer else ""
    return f'"{blake2b(whole.encode(), digest_size=16).hexdigest()}{as_of}"'


def known(if_none_match: Iterable[str], tag: str) -> str | None:
    """The tag of the answer that the caller has, if only its `asOf` differs from the answer with this tag.

    The headers If-None-Match hold tags, or `*` for any.
    """
    given = ",".join(if_none_match)
    if given.strip() == "*":
        return tag
    # RFC 9110: the comparison is weak, so `W/` does not matter.
    return next((each for each in _listed(given) if _without_time(each) == _without_time(tag)), None)


def _without_time(tag: str) -> str:
    return _AS_OF.sub('"', tag)


def _listed(given: str) -> list[str]:
    """The tags of a list up to its first fault."""
    found, place = [], 0
    while match := _TAGS.match(given, place):
        found.append(match[1])
        place = match.end()
    return found
