"""What is checked in AWS before Java starts: faults that waiting does not fix, and that the KCL would not report.

The groups of checks run in parallel, because they delay the first record.
"""

import errno
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Thread

from botocore.exceptions import BotoCoreError, ClientError

from consumer.access import advice, checks
from consumer.access.checks import Check, Clients, NotThereYet
from consumer.engine.errors import SettingsError
from consumer.leases.origin import Application
from consumer.settings import Settings

SECONDS = 10.0
"""A check that takes longer counts as unanswered."""
_WRONG = (PermissionError, NotADirectoryError, FileExistsError)
"""Errors of a directory that last. A full disk, for instance, may have free space again."""

log = logging.getLogger("consumer.supervisor")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of some checks: what is certainly wrong, one line each, and whether AWS answered and all of them passed."""

    problems: Sequence[str] = ()
    answered: bool = True
    passed: bool = False


PASSED, FAILED, UNANSWERED = Outcome(passed=True), Outcome(), Outcome(answered=False)


def examine(settings: Settings, clients: Clients, seconds: float = SECONDS) -> None:
    """Raises SettingsError for what is denied, missing or wrong, with one line each; marks the leases of this stream.

    A check that cannot be completed is logged and does not prevent the start: its cause may be temporary.
    """
    try:
        # Threads must not create clients at the same time.
        clients.application()
        if any(place and place.startswith("s3:") for place in (settings.quarantine, settings.archive)):
            clients.s3()
    except BotoCoreError as error:
        _not_checked("AWS", type(error).__name__)
        return
    outcomes = _in_parallel(list(checks.groups(settings, clients)), seconds)
    problems = [line for outcome in outcomes for line in outcome.problems]
    if not problems and all(outcome.answered for outcome in outcomes):
        # Only now, because most of the problems above would be found here again.
        problems += _outcome(_leases(clients.application())).problems
    if problems:
        raise SettingsError(problems)


def _leases(application: Application) -> Check:
    return Check("leases", f"leases of {application.name}", checks.PROVISION, lambda: str(application.settle()))


def _in_parallel(groups: Sequence[Sequence[Check]], seconds: float) -> list[Outcome]:
    found: dict[int, Outcome] = {}

    def examine_group(place: int) -> None:
        found[place] = _of_group(groups[place])

    # Daemon threads: a request without an answer must not delay the exit.
    threads = [
        Thread(target=examine_group, args=(place,), name="preflight", daemon=True) for place in range(len(groups))
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    for place, (first, *_) in enumerate(groups):
        if place not in found:
            _not_checked(first.resource, f"no answer within {seconds:g} s")
    return [found.get(place, UNANSWERED) for place in range(len(groups))]


def _of_group(group: Sequence[Check]) -> Outcome:
    """The outcome of the first check that does not pass."""
    return next((outcome for outcome in map(_outcome, group) if not outcome.passed), PASSED)


def _outcome(check: Check) -> Outcome:
    try:
        check.probe()
    except NotThereYet as missing:
        return _missing(check, str(missing))
    except SettingsError as wrong:
        return Outcome(wrong.problems)
    except ClientError as error:
        return _refused(check, error)
    except (BotoCoreError, LookupError) as error:
        _not_checked(check.resource, type(error).__name__)
        return UNANSWERED
    except OSError as error:
        return _unusable(check, error)
    return PASSED


def _refused(check: Check, error: ClientError) -> Outcome:
    code, action = advice.code_of(error), advice.action_of(error)
    if code in advice.MISSING and not check.required:
        return _missing(check, f"KCL creates it if it may, which takes minutes; or {checks.PROVISION}")
    if not advice.is_certain(error):
        _not_checked(check.resource, code)
        return FAILED
    remedy = advice.advise(error, resource=check.resource, missing=check.remedy)
    return Outcome([f"{check.resource}: {action}: {code}: {remedy}"])


def _unusable(check: Check, error: OSError) -> Outcome:
    if isinstance(error, _WRONG) or error.errno == errno.EROFS:
        return Outcome([f"{check.resource}: {error}: {check.remedy}"])
    _not_checked(check.resource, type(error).__name__)
    return FAILED


def _missing(check: Check, cause: str) -> Outcome:
    log.warning("missing at the start", extra={"part": check.resource, "cause": cause})
    return FAILED


def _not_checked(what: str, cause: str) -> None:
    log.warning("not checked before the start", extra={"part": what, "cause": cause})
