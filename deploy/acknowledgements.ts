import { type Stack, Validations } from 'aws-cdk-lib';
import type { DeploySettings } from './settings.ts';

/**
 * Findings of cdk-nag that are intended, each with its reason. A finding that is not here fails the
 * synthesis.
 * @param api logical id of the WebSocket API
 */
export function acknowledgements(
  settings: DeploySettings,
  api: string,
): Readonly<Record<string, string>> {
  const callbacks = `arn:<AWS::Partition>:execute-api:<AWS::Region>:<AWS::AccountId>:<${api}>/prod`;
  const connections =
    'Connection ids are only known when clients connect: any of this stage, to post to and to close.';
  return {
    'AwsSolutions-APIG4':
      '$connect authorises, in its own Lambda: an authorizer would be a second Lambda a connect, and API Gateway has none for other routes.',
    [`AwsSolutions-IAM5[Resource::${callbacks}/POST/@connections/*]`]: connections,
    [`AwsSolutions-IAM5[Resource::${callbacks}/DELETE/@connections/*]`]: connections,
    'AwsSolutions-IAM5[Resource::*]':
      'ecr:GetAuthorizationToken, to pull the image, takes no resource.',
    'AwsSolutions-ECS2':
      'Plain variables hold addresses and names; the password and the JWT secret are fetched by their ARN.',
    ...(settings.accessLogs
      ? {}
      : {
          'AwsSolutions-APIG1':
            'Access logs need a role that belongs to the account: -c accessLogs=true turns them on.',
        }),
    ...(settings.network ? {} : { 'AwsSolutions-VPC7': 'The VPC of a trial has no flow logs.' }),
    ...(settings.database && settings.jwtSecretArn !== null
      ? {}
      : { 'AwsSolutions-SMG4': 'The secrets of a trial are not rotated.' }),
    ...(settings.database
      ? {}
      : {
          'AwsSolutions-RDS3': 'The database of a trial is in one zone.',
          'AwsSolutions-RDS10': 'The database of a trial goes with its stack.',
          'AwsSolutions-RDS11': 'The default port; only the relay reaches it.',
        }),
  };
}

export function acknowledge(stack: Stack, settings: DeploySettings, api: string): void {
  for (const [rule, reason] of Object.entries(acknowledgements(settings, api)))
    Validations.of(stack).acknowledge({ id: `AwsSolutions::${rule}`, reason });
}
