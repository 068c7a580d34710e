"""The names under which the API answers.

Without tokens, any web page could read limits through the browser of somebody who can reach the API: it would let its
own name lead to the API's address (DNS rebinding). The browser then sends that name in the header Host.
"""

from collections.abc import Callable, Collection
from typing import TypeAlias
from urllib.parse import urlsplit

from consumer.settings import is_loopback

IsKnown: TypeAlias = Callable[[str], bool]
"""Whether a request with this header Host is for this API."""


def any_host(_: str) -> bool:
    return True


def local_host(header: str) -> bool:
    """Whether it names this machine: localhost, 127.0.0.0/8 or ::1, with any port."""
    return is_loopback(_name(header))


def one_of(names: Collection[str]) -> IsKnown:
    """Whether it has one of these names, with any port. Case does not matter."""
    known = frozenset(name.lower() for name in names)
    return lambda header: _name(header) in known


def _name(header: str) -> str:
    """The name in a header Host, in lower case. Empty if it has none."""
    try:
        place = urlsplit(f"//{header}")
        is_name = place.netloc == header and "@" not in header and (place.port is not None or not header.endswith(":"))
    except ValueError:
        return ""
    return place.hostname or "" if is_name else ""
