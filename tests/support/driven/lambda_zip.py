"""The zip archive of the Lambda function, for this machine's Python version and architecture."""

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
    """Built once per test session. Needs the package index unless the wheels are in `build/`."""
    return build(target)


def unpack(into: Path) -> Path:
    """Extracts the archive, as Lambda does."""
    with zipfile.ZipFile(BytesIO(archive())) as zipped:
        zipped.extractall(into)
    return into
