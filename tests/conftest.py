"""What holds for every test: the markers, made-up AWS settings, and no silent skips on CI."""

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pytest

from tests.support.emulators.place import Place, PlaceError, chosen, identity

pytest_plugins = ["pytester"]

CONFORMANCE = "conformance: needs the tools that `make tools` brings; left out unless -m asks for it"
LOCALSTACK = "localstack: needs what `make localstack` brings; left out unless -m asks for it"
PLACE = pytest.StashKey[Place]()
NO_OTHER_AWS: Mapping[str, str] = MappingProxyType(
    {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
)


class NoSkips:
    """Fails the session when anything was skipped; an expected failure, to pytest a skip as well, did run."""

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
            terminalreporter.write_line(f"skipped, where all must run: {names}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when a test is skipped, as under CI=true")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", CONFORMANCE)
    config.addinivalue_line("markers", LOCALSTACK)
    if not config.option.markexpr:
        config.option.markexpr = "not conformance and not localstack"
    try:
        config.stash[PLACE] = chosen(os.environ)
    except PlaceError as unclear:
        raise pytest.UsageError(str(unclear)) from None
    if config.getoption("--no-skips") or os.environ.get("CI") == "true":
        config.pluginmanager.register(NoSkips())


@pytest.fixture(scope="session")
def aws_place(request: pytest.FixtureRequest) -> Place:
    """Where AWS is, as CONSUMER_TEST_AWS and the like said when the session began."""
    return request.config.stash[PLACE]


@pytest.fixture(scope="session", autouse=True)
def made_up_aws(aws_place: Place) -> Iterator[None]:
    """No test reaches an account of whoever runs it, unless asked to, nor depends on that person's settings."""
    who = identity(aws_place)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {**who, **NO_OTHER_AWS}.items():
            patch.setenv(name, value)
        yield
