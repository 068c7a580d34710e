"""Reads the CloudFormation templates of deploy/cloudformation/."""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "cloudformation"


class _Loader(yaml.CSafeLoader):
    """Loads YAML and turns CloudFormation's short forms, `!Ref x`, into the long ones, `{"Ref": "x"}`."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    return {name: value.split(".", 1) if suffix == "GetAtt" else value}


_Loader.add_multi_constructor("!", _long_form)


def names() -> list[str]:
    """All templates, without `.yaml`."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def template(name: str) -> dict[str, Any]:
    """A template such as `data.yaml`, with functions in the long form, ready for json.dumps."""
    read: dict[str, Any] = yaml.load((FOLDER / name).read_text(encoding="utf-8"), _Loader)  # noqa: S506
    return read
