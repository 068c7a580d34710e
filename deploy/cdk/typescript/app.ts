// An example: data and service in an account that has a network, an image and an SNS topic. Replace the values.
import { App } from "aws-cdk-lib";
import { LimitsStack } from "./limits-stack";

// The CDK's own validation tries the conditions of a template in every combination, and does not end with so many.
const app = new App({ analyticsReporting: false, builtinCloudFormationValidation: false });
const data = new LimitsStack(app, "limits-data", "data", {
  parameters: { StreamName: "limit-events" },
  terminationProtection: true,
});
const service = new LimitsStack(app, "limits-service", "fargate", {
  parameters: {
    DataStack: data.stackName,
    ImageDigest: `sha256:${"0".repeat(64)}`,
    VpcId: "vpc-0123456789abcdef0",
    PrivateSubnets: ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    MetricsSecurityGroup: "sg-0123456789abcdef0",
    MaxTasks: 8,
    AlarmTopicArn: "arn:aws:sns:eu-west-1:111122223333:on-call",
  },
});
service.addStackDependency(data);
app.synth();
