import * as path from "node:path";
import { Stack, type StackProps } from "aws-cdk-lib";
import { CfnInclude } from "aws-cdk-lib/cloudformation-include";
import type { Construct } from "constructs";

const TEMPLATES = path.resolve(__dirname, "../../../cloudformation"); // from dist/, where this is compiled to

export interface LimitsStackProps extends StackProps {
  /** Values by the names of the template; others keep their defaults. An unknown name is an error. */
  readonly parameters?: Readonly<Record<string, string | number | readonly string[]>>;
}

/** The stack of a template of deploy/cloudformation/ such as `fargate`. */
export class LimitsStack extends Stack {
  /** Its resources, for changes: `template.getResource("TaskRole")`. */
  readonly template: CfnInclude;

  constructor(scope: Construct, id: string, template: string, props: LimitsStackProps = {}) {
    super(scope, id, props);
    const templateFile = path.join(TEMPLATES, `${template}.yaml`);
    this.template = new CfnInclude(this, "Template", { templateFile, parameters: { ...props.parameters } });
  }
}
