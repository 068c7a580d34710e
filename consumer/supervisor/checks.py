"""What is checked on this machine before Java starts. preflight.py checks what only AWS knows."""

from collections.abc import Callable, Mapping, Sequence

from consumer import projections
from consumer.daemon import jars, java
from consumer.engine.errors import SettingsError
from consumer.settings import Settings, variable
from consumer.supervisor import launch


def check(
    settings: Settings, environment: Mapping[str, str], executable: str, command: Sequence[str] | None = None
) -> None:
    """Raises SettingsError with every problem that would prevent the worker from running, without starting Java."""
    checks: list[Callable[[], object]] = [
        lambda: projections.load(settings.projection),
        lambda: launch.rendered(settings, "unknown yet", executable),
        lambda: _require(
            launch.on_path(executable, environment), f"{executable.split(maxsplit=1)[0]} is not on the PATH"
        ),
        lambda: _require(
            "PROMETHEUS_MULTIPROC_DIR" not in environment,
            "PROMETHEUS_MULTIPROC_DIR is managed by the worker; unset it",
        ),
    ]
    if command is None:
        log_file = settings.properties / "logback.xml"
        checks += [
            # A missing directory is reported by the first check already.
            lambda: _require(
                log_file.is_file() or not log_file.parent.is_dir(),
                f"{variable('properties')}: {log_file} does not exist",
            ),
            lambda: java.find_java(environment),
            lambda: _require_none(jars.installed_problems()),
        ]
    if problems := [line for one in checks for line in _problems(one)]:
        raise SettingsError(problems)


def _problems(check_one: Callable[[], object]) -> list[str]:
    try:
        check_one()
    except SettingsError as error:
        return error.problems
    return []


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise SettingsError([problem])


def _require_none(problems: list[str]) -> None:
    if problems:
        raise SettingsError(problems)
