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


def unpack(into: Path, package: Package = LIMITS, added: Path | None = None) -> Path:
    """Extracts the archive, as Lambda does. `added`: a folder of packages that are in it too."""
    content = build(HERE, ROOT, package, added) if added else archive(HERE, package)
    with zipfile.ZipFile(BytesIO(content)) as zipped:
        zipped.extractall(into)
    return into
