/** `cdk synth|deploy|diff|destroy` run this: one stack, made of what docs/deploy.md lists, without a look into any account. */
import { App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { CONTEXT_NAMES, loadDeploySettings } from './settings.ts';
import { RowcastStack } from './stack.ts';

const app = new App();
const context = Object.fromEntries(CONTEXT_NAMES.map((name) => [name, app.node.tryGetContext(name)]));
new RowcastStack(app, app.node.tryGetContext('stackName') ?? 'Rowcast', loadDeploySettings(context));
Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
