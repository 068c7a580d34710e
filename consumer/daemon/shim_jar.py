"""The jar that comes before the KCL's jars on the class path: classes that replace those of the KCL."""

import io
import zipfile

from consumer.daemon import aggregator_shim, stream_arn_shim
from consumer.daemon.kcl_constants import CONSTANTS

FILE = "kcl-shim.jar"


def contents() -> bytes:
    """The jar. Its bytes are always the same."""
    classes = {aggregator_shim.NAME: aggregator_shim.class_file()}
    classes |= {constant.name: constant.class_file() for constant in CONSTANTS}
    classes |= {insertion.name: insertion.class_file() for insertion in stream_arn_shim.INSERTIONS}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in classes.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.class"), content)
    return made.getvalue()
