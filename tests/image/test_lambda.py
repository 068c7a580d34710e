"""The function as a container: AWS's runtime interface client inside, the Runtime API outside."""

import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path

from deploy.lambda_zip import build
from tests.support.driven import lambda_environment
from tests.support.driven.container import Image, container
from tests.support.driven.invocations import SUCCESS, event
from tests.support.driven.lambda_zip import HERE
from tests.support.driven.scenario import Stage
from tests.support.emulators.aws import Emulator
from tests.support.emulators.runtime_api import Request, RuntimeApi, lambda_variables
from tests.support.generators.events import created, progress_changed, records


def test_an_invocation_is_answered(lambda_image: Image, aws: Emulator, tmp_path: Path) -> None:
    place = lambda_environment.variables("image", aws)
    lambda_environment.make_table(place)
    lambda_environment.make_bucket(place)
    api = RuntimeApi()
    api.requests.put(Request("one", event(records(created(1), b"poison", progress_changed(2))), 60.0))
    with api.served() as address, container(lambda_image, {**lambda_variables(address), **place}, tmp_path):
        posted = api.posted.get(timeout=60)

    assert (posted.request_id, posted.answer) == ("one", SUCCESS)
    assert [limit["progress"] for limit in Stage(place).limits().values()] == ["10"]
    assert lambda_environment.quarantined(place) == Counter([b"poison"])


def test_the_function_is_that_of_the_zip(lambda_image: Image) -> None:
    task = lambda_image.root / "var" / "task"
    found = {path.relative_to(task).as_posix() for path in task.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    with zipfile.ZipFile(BytesIO(build(HERE))) as archive:
        assert found - {"sbom.cdx.json"} == set(archive.namelist())
