"""On CI a skipped test fails the session, so that no test is left out unnoticed."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

PASSES = "def test_passes():\n    pass\n"
SKIPS = "import pytest\n\n@pytest.mark.skip\ndef test_skips():\n    pass\n"
SKIPS_INSIDE = "import pytest\n\ndef test_skips_inside():\n    pytest.skip('no tool')\n"
SKIPS_MODULE = "import pytest\n\npytest.importorskip('no_such_module')\n"
FAILS_AS_EXPECTED = "import pytest\n\n@pytest.mark.xfail\ndef test_xfails():\n    assert False\n"
CONFORMANCE = "import pytest\n\n@pytest.mark.conformance\ndef test_conforms():\n    assert False\n"
FAILS = "def test_fails():\n    assert False\n"


# The inner sessions run in this process, so their modules must not have the name of one of ours.
@pytest.fixture(autouse=True)
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest(CONFTEST.read_text())


@pytest.mark.parametrize("skipping", [SKIPS, SKIPS_INSIDE, SKIPS_MODULE])
def test_a_skip_fails_the_session_and_is_named(pytester: pytest.Pytester, skipping: str) -> None:
    pytester.makepyfile(test_no_skips_good=PASSES, test_no_skips_bad=skipping)
    result = pytester.runpytest("--no-skips")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["skipped, but every test must run: *test_no_skips_bad.py*"])


def test_a_skipped_module_alone_fails_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_no_skips_bad=SKIPS_MODULE)
    assert pytester.runpytest("--no-skips").ret == pytest.ExitCode.TESTS_FAILED


def test_ci_does_the_same(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(test_no_skips_bad=SKIPS)
    assert pytester.runpytest().ret == pytest.ExitCode.TESTS_FAILED


def test_a_skip_is_fine_elsewhere(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_no_skips_good=PASSES, test_no_skips_bad=SKIPS)
    assert pytester.runpytest().ret == pytest.ExitCode.OK


def test_expected_failures_and_deselected_tests_are_not_skips(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_no_skips_good=PASSES, test_no_skips_xfail=FAILS_AS_EXPECTED, test_no_skips_conformance=CONFORMANCE
    )
    result = pytester.runpytest("--no-skips")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1, xfailed=1, deselected=1)


def test_asking_for_the_conformance_tests_runs_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_no_skips_good=PASSES, test_no_skips_conformance=CONFORMANCE)
    pytester.runpytest("-m", "conformance").assert_outcomes(failed=1, deselected=1)


def test_a_failure_stays_a_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_no_skips_failing=FAILS, test_no_skips_bad=SKIPS)
    assert pytester.runpytest("--no-skips").ret == pytest.ExitCode.TESTS_FAILED
