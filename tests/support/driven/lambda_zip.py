"""The archive of the Lambda function, for the Python and the processor of this machine."""

import functools
import platform
import sys
import zipfile
from io import BytesIO
from pathlib import Path

from deploy.lambda_zip import Target, build

HERE = Target(platform.machine(), f"{sys.version_info.major}.{sys.version_info.minor}")


@functools.cache
def archive(target: Target = HERE) -> bytes:
    """Built once a test session; needs the package index when the wheels are not in `build/` yet."""
    return build(target)


def unpack(into: Path) -> Path:
    """The archive's contents, as Lambda lays them out."""
    with zipfile.ZipFile(BytesIO(archive())) as zipped:
        zipped.extractall(into)
    return into
