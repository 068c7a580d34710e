"""An example: data and service in an account that has a network, an image and an SNS topic. Replace the values."""

from aws_cdk import App
from limits_stack import LimitsStack

# The CDK's own validation tries the conditions of a template in every combination, and does not end with so many.
app = App(analytics_reporting=False, builtin_cloud_formation_validation=False)
data = LimitsStack(app, "limits-data", "data", {"StreamName": "limit-events"}, termination_protection=True)
service = LimitsStack(
    app,
    "limits-service",
    "fargate",
    {
        "DataStack": data.stack_name,
        "ImageDigest": "sha256:" + "0" * 64,
        "VpcId": "vpc-0123456789abcdef0",
        "PrivateSubnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "MetricsSecurityGroup": "sg-0123456789abcdef0",
        "MaxTasks": 8,
        "AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:on-call",
    },
)
service.add_stack_dependency(data)
app.synth()
