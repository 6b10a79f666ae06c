import { PolicyStatement } from 'aws-cdk-lib/aws-iam';

/** On these resources and no others: CDK's own grants take a table's indexes in. */
export function allow(actions: string[], ...resources: string[]): PolicyStatement {
  return new PolicyStatement({ actions, resources });
}
