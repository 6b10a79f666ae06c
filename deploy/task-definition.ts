/**
 * Prints the relay's task definition as `aws ecs register-task-definition --cli-input-json
 * file://…` takes it, for those who deploy without CDK: what the stack makes, with placeholders for
 * what only an account knows.
 */
import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { loadDeploySettings } from './settings.ts';
import { RowcastStack } from './stack.ts';

type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** @param template of a stack with one task definition */
export function taskDefinition(template: Template): Json {
  const [resource] = Object.values(template.findResources('AWS::ECS::TaskDefinition'));
  return {
    family: 'rowcast-relay',
    ...(withPlaceholders(camelCase(resource?.Properties)) as { [name: string]: Json }),
  };
}

/**
 * CloudFormation writes Names, the ECS API names; environment variables and placeholders stay as
 * they are.
 */
function camelCase(value: Json): Json {
  if (Array.isArray(value)) return value.map(camelCase);
  if (value === null || typeof value !== 'object') return value;
  if (isIntrinsic(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== 'Family')
      .map(([name, inner]) => [
        name === 'Options' ? 'options' : `${name[0]?.toLowerCase()}${name.slice(1)}`,
        name === 'Options' ? inner : camelCase(inner),
      ]),
  );
}

const isIntrinsic = (value: { [name: string]: Json }) =>
  Object.keys(value).length === 1 && /^(Ref|Fn::)/.test(Object.keys(value)[0] as string);

function withPlaceholders(value: Json): Json {
  if (Array.isArray(value)) return value.map(withPlaceholders);
  if (value === null || typeof value !== 'object') return value;
  if (isIntrinsic(value)) return placeholder(value);
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, withPlaceholders(inner)]),
  );
}

function placeholder(intrinsic: { [name: string]: Json }): string {
  const [[name, argument]] = Object.entries(intrinsic) as [[string, Json]];
  if (name === 'Fn::Join')
    return (argument as [string, Json[]])[1].map((part) => String(withPlaceholders(part))).join('');
  if (name === 'Fn::GetAtt') return `<${(argument as string[]).join('.')}>`;
  return `<${typeof argument === 'string' ? argument.replace(/\$\{(.+?)\}/g, '<$1>') : JSON.stringify(argument)}>`;
}

if (process.argv[1]?.endsWith('task-definition.ts')) {
  const settings = loadDeploySettings({});
  const stack = new RowcastStack(new App(), 'Rowcast', settings);
  process.stdout.write(`${JSON.stringify(taskDefinition(Template.fromStack(stack)), null, 2)}\n`);
}
