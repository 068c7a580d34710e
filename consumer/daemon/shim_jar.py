"""The jar that comes before the KCL's jars on the class path: two classes that replace those of the KCL."""

import io
import zipfile

from consumer.daemon import aggregator_shim, dispatch_interval

FILE = "kcl-shim.jar"


def contents() -> bytes:
    """The jar. Its bytes are always the same."""
    classes = {
        aggregator_shim.NAME: aggregator_shim.class_file(),
        dispatch_interval.NAME: dispatch_interval.class_file(),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in classes.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.class"), content)
    return made.getvalue()
