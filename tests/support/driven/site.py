"""The pages with something to show: a worker that has consumed a few thousand events, and servers of the pages.

    with filled(directory) as filled_stores, open_pages(filled_stores, directory / "open") as site:
        page.goto(site + "/consumer")

The events of the crowd have a fixed seed. Those of SHOWN are about now, because a page counts down to the next reset.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlencode

from playwright.sync_api import Page, expect

from consumer.limits.sample import Event, Sample, encoded
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.scenario import Stage, samples, until_received
from tests.support.driven.service import Service, consumer, environment, service, serving
from tests.support.driven.waiting import until
from tests.support.emulators.aws import ministack
from tests.support.emulators.issuer import AUDIENCE, Issuer
from tests.support.generators.events import USER, created, progress_changed
from tests.support.simulation.pages import CLIENT, KEY

SEED, EVENTS = 2026, 3_000
ONE_OF_MANY = "u-00001"
CHANGING = "u-changing"
"""A user whose limit changes in a test."""
MARKUP = '"><img src=x onerror="ran=1"><script>ran=1</script>&amp;'
"""The id of a user and of a limit."""
BAD = '{"type": null, "text": "<b>bold</b><script>ran=1</script>"}'
"""The data of a record that can never be applied."""

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_ALL_SCOPES = "openid profile limits:read operations:read"


@dataclass(frozen=True)
class Filled:
    """A stream, its stores, and a running worker, which has consumed the stream."""

    stage: Stage
    worker: Service

    def put(self, made: Sequence[Sample]) -> None:
        """Puts records, and waits until they are settled."""
        before = self.worker.received()
        self.stage.put(made)
        until_received(self.worker, before + len(made))


def sample(event: Event) -> Sample:
    return Sample(event["aggregateId"], encoded(event), event)


@contextmanager
def filled(directory: Path) -> Iterator[Filled]:
    """Runs an emulator and a worker during the block."""
    with ministack() as aws:
        variables = environment("pages", directory, AWS_ENDPOINT_URL=aws.endpoint)
        consumer(variables, "provision", "--stream", "2")
        with service(variables, directory / "worker.log") as worker:
            made = Filled(Stage(variables), worker)
            made.put(samples(SEED, EVENTS))
            made.put([sample(event) for event in shown(int(time.time() * 1000))])
            made.put([Sample("", BAD.encode(), None)])
            yield made


@contextmanager
def open_pages(behind: Filled, log: Path, **changes: str) -> Iterator[str]:
    """Serves the pages during the block, with charts; nobody signs in. Yields their address."""
    variables = {**behind.stage.variables, "CONSUMER_PAGES_METRICS_URLS": f"http://{behind.worker.address}/metrics"}
    with serving(variables, log, **changes) as running:
        if "CONSUMER_API_ISSUER" not in changes:
            until(lambda: "<figure>" in running.get("/consumer")[1], "the charts of the worker")
        yield f"http://{running.address}"


@contextmanager
def pages_of(op: Issuer, behind: Filled, log: Path) -> Iterator[str]:
    """Serves the pages during the block; people sign in at the issuer. Yields their address."""
    address = f"{LOOPBACK}:{free_port()}"
    changes = {
        "CONSUMER_API_ADDRESS": address,
        "CONSUMER_METRICS_ADDRESS": address,
        "CONSUMER_API_ISSUER": op.url,
        "CONSUMER_API_AUDIENCE": AUDIENCE,
        "CONSUMER_PAGES_CLIENT_ID": CLIENT,
        "CONSUMER_PAGES_URL": f"http://{address}",
        "CONSUMER_PAGES_SESSION_KEY": KEY,
    }
    with open_pages(behind, log, **changes) as site:
        yield site


def signs_in(op: Issuer, scope: str = _ALL_SCOPES) -> None:
    """From now on, whoever signs in is USER, who may do what the scope permits."""
    op.person, op.scope = {"sub": USER, "name": "Anna"}, scope


def shown(now: int) -> Iterator[Event]:
    """Events of limits with something to see. `now`: epoch milliseconds."""
    made = (*_of_user(now), *_of_others(now))
    return ({**event, "createdAt": now - 60_000 + number} for number, event in enumerate(made))


def _of_user(now: int) -> Iterator[Event]:
    """A limit in use, one that is exceeded, one in seconds, one that has replaced another, and one to come."""
    yield created(1, userLimitId="l-deposit", value="1000", activeFrom=now - 9 * _DAY, nextResetTime=now + 8 * _HOUR)
    yield progress_changed(2, userLimitId="l-deposit", amount="850")
    week = {"userLimitId": "l-bet", "type": "BET", "period": "CALENDAR_WEEK", "value": "500"}
    yield created(3, **week, activeFrom=now - 9 * _DAY, nextResetTime=now + 3 * _DAY)
    yield progress_changed(4, userLimitId="l-bet", amount="562.5")
    session = {"userLimitId": "l-session", "type": "SESSION", "value": "7200"}
    yield created(5, **session, activeFrom=now - 9 * _DAY, nextResetTime=now + 8 * _HOUR)
    yield progress_changed(6, userLimitId="l-session", amount="5400")
    month = {"userLimitId": "l-loss", "type": "LOSS", "period": "CALENDAR_MONTH", "value": "1500"}
    yield created(7, **month, previousLimitValue="2000", activeFrom=now - 9 * _DAY, nextResetTime=now + 12 * _DAY)
    yield progress_changed(8, userLimitId="l-loss", amount="320.1")
    yield created(9, userLimitId="l-future", value="2000", status="FUTURE", activeFrom=now + 7 * _DAY)
    yield progress_changed(10, userLimitId="l-unknown", amount="25")


def _of_others(now: int) -> Iterator[Event]:
    yield created(1, userId=MARKUP, userLimitId=MARKUP, nextResetTime=now + 8 * _HOUR)
    yield created(1, userId=CHANGING, nextResetTime=now + 8 * _HOUR)


def of_user(user: str) -> str:
    """The path of a user's limits."""
    return f"/?{urlencode({'user': user})}"


# --- The views -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """A page to be seen.

    heading    its h1
    path       where it is
    scope      of who has signed in; None on the pages where nobody does
    is_held    whether the browser does not reach the issuer, so that it stays where it is
    """

    heading: str
    path: str
    scope: str | None = None
    is_held: bool = False


VIEWS: Mapping[str, View] = MappingProxyType(
    {
        "search": View("Limits of a user", "/"),
        "limits": View(f"Limits of {USER}", of_user(USER)),
        "limits of nobody": View("Limits of nobody", of_user("nobody")),
        "consumer": View("The consumer", "/consumer"),
        "quarantine": View("Quarantine", "/consumer/quarantine"),
        "a reason": View("Quarantine", "/consumer/quarantine?reason=SCHEMA"),
        "an error": View(HTTPStatus.UNPROCESSABLE_ENTITY.phrase, of_user("x" * 129)),
        "own limits": View("Your limits", "/", scope="openid"),
        "forbidden": View("Forbidden", "/consumer", scope="openid"),
        "sign in": View("Sign in", "/sign-in", scope="openid", is_held=True),
        "sign-in failed": View("You are not signed in", "/sign-in/callback", scope="openid"),
        "signed out": View("You are signed out", "/signed-out", scope="openid"),
    }
)


@dataclass(frozen=True)
class Sites:
    """Addresses of the pages: where nobody signs in, and where people do, at `op`."""

    free: str
    guarded: str
    op: Issuer

    def show(self, page: Page, view: View) -> None:
        """Leads the browser to the view."""
        if view.scope is not None:
            signs_in(self.op, view.scope)
        if view.is_held:
            page.route(f"{self.op.url}/**", lambda route: route.abort("aborted"))
        page.goto((self.free if view.scope is None else self.guarded) + view.path, wait_until="commit")
        expect(page.get_by_role("heading", level=1)).to_have_text(view.heading)
        page.wait_for_load_state()
