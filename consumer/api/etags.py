"""Entity tags: whether the answer is still the one that the caller has."""

import json
import re
from collections.abc import Iterable
from hashlib import blake2b

_TAGS = re.compile(r'\s*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_AS_OF = re.compile(r'-[0-9]{1,16}"$', re.ASCII)


def etag(content: str, versions: Iterable[str], as_of: int | None) -> str:
    """A strong tag, with its quotes, for an answer in JSON without its `asOf`, and the versions of the limits in it.

    It ends with `asOf`, if the answer has one. What else changes with the time, such as `resetOverdue`, is content.
    """
    whole = content + json.dumps([*versions])
    end = "" if as_of is None else f"-{as_of}"
    return f'"{blake2b(whole.encode(), digest_size=16).hexdigest()}{end}"'


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
