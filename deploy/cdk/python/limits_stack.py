"""A stack of one template of deploy/cloudformation/, for an app of the CDK."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import Stack
from aws_cdk.cloudformation_include import CfnInclude
from constructs import Construct

TEMPLATES = Path(__file__).resolve().parents[2] / "cloudformation"


class LimitsStack(Stack):
    """The stack of a template such as `fargate`.

    parameters  values by the names of the template; others keep their defaults. An unknown name is an error
    template    its resources, for changes: `template.get_resource("TaskRole")`
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        template: str,
        parameters: Mapping[str, str | int | list[str]] | None = None,
        **stack: Any,
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        file = str(TEMPLATES / f"{template}.yaml")
        self.template = CfnInclude(self, "Template", template_file=file, parameters=dict(parameters or {}))
