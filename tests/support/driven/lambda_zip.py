"""The zip archives of the Lambda functions, for this machine's Python version and architecture."""

import functools
import platform
import sys
import zipfile
from io import BytesIO
from pathlib import Path

from deploy.lambda_zip import LIMITS, ROOT, Package, Target, build

HERE = Target(platform.machine(), f"{sys.version_info.major}.{sys.version_info.minor}")


@functools.cache
def archive(target: Target = HERE, package: Package = LIMITS) -> bytes:
    """Built once per test session. Needs the package index unless the wheels are in `build/`."""
    return build(target, ROOT, package)


def unpack(into: Path, package: Package = LIMITS) -> Path:
    """Extracts the archive, as Lambda does."""
    with zipfile.ZipFile(BytesIO(archive(HERE, package))) as zipped:
        zipped.extractall(into)
    return into
