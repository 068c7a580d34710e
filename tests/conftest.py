"""Applies to every test: the markers, fictitious AWS settings, and on CI more examples and no silent skips."""

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, settings

from tests.support.emulators.place import Place, PlaceError, chosen, identity

pytest_plugins = ["pytester"]

CONFORMANCE = "conformance: needs the tools of `make tools`; deselected unless selected with -m"
LOCALSTACK = "localstack: needs the tools of `make localstack`; deselected unless selected with -m"
EXAMPLES: Mapping[str, int] = MappingProxyType({"default": 25, "ci": 150})
"""How many examples Hypothesis generates, by profile. Where CI is set, it loads `ci`."""
PLACE = pytest.StashKey[Place]()
NO_OTHER_AWS: Mapping[str, str] = MappingProxyType(
    {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
)


class NoSkips:
    """Fails the session if a test was skipped. An expected failure, which pytest also counts as skipped, did run."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skipped:
            names = ", ".join(self.skipped)
            terminalreporter.write_line(f"skipped, but every test must run: {names}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail if a test is skipped, as with CI=true")


def pytest_configure(config: pytest.Config) -> None:
    for profile, examples in EXAMPLES.items():
        # no deadline, because machines differ; a failure prints the blob that reproduces it
        settings.register_profile(
            profile,
            settings.get_profile(profile),
            max_examples=examples,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        )
    config.addinivalue_line("markers", CONFORMANCE)
    config.addinivalue_line("markers", LOCALSTACK)
    if not config.option.markexpr:
        config.option.markexpr = "not conformance and not localstack"
    try:
        config.stash[PLACE] = chosen(os.environ)
    except PlaceError as error:
        raise pytest.UsageError(str(error)) from None
    if config.getoption("--no-skips") or os.environ.get("CI") == "true":
        config.pluginmanager.register(NoSkips())


@pytest.fixture(scope="session")
def aws_place(request: pytest.FixtureRequest) -> Place:
    """Where AWS is, according to CONSUMER_TEST_AWS and related variables at the start of the session."""
    return request.config.stash[PLACE]


@pytest.fixture(scope="session", autouse=True)
def made_up_aws(aws_place: Place) -> Iterator[None]:
    """No test uses the AWS account or settings of the user, unless CONSUMER_TEST_AWS=account."""
    variables = identity(aws_place)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {**variables, **NO_OTHER_AWS}.items():
            patch.setenv(name, value)
        yield
