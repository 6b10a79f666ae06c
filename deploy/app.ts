/**
 * `cdk synth|deploy|diff|destroy` run this: one stack, made of what docs/deploy.md lists, without a
 * look into any account.
 */
import { App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { loadDeploySettings } from './settings.ts';
import { RowcastStack } from './stack.ts';

const app = new App();
// CDK's own variables have a colon or a slash in their names.
const { stackName = 'Rowcast', ...context } = Object.fromEntries(
  Object.entries(app.node.getAllContext() as Record<string, unknown>).filter(([name]) =>
    /^\w+$/.test(name),
  ),
);
new RowcastStack(app, String(stackName), loadDeploySettings(context));
Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
