import { CfnOutput, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import {
  GatewayVpcEndpointAwsService,
  InstanceType,
  type IVpc,
  Port,
  SecurityGroup,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import type { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import {
  Credentials,
  DatabaseInstance,
  DatabaseInstanceEngine,
  ParameterGroup,
  PostgresEngineVersion,
  StorageType,
} from 'aws-cdk-lib/aws-rds';
import type { Construct } from 'constructs';
import { allow } from './rights.ts';
import type { DeploySettings, ExistingDatabase } from './settings.ts';

/**
 * The relay's access to the database: its settings, the right to its password, and the way there.
 */
export interface RelayDatabase {
  readonly environment: Readonly<Record<string, string>>;
  readonly rights: readonly PolicyStatement[];
  readonly port: Port;
  readonly securityGroup: SecurityGroup | ReturnType<typeof SecurityGroup.fromSecurityGroupId>;
}

/**
 * The VPC that exists, without a look into the account, or one for a trial: one NAT gateway, two
 * zones.
 */
export function network(scope: Construct, settings: DeploySettings): IVpc {
  const { network: existing } = settings;
  if (!existing) {
    const vpc = new Vpc(scope, 'Vpc', {
      maxAzs: 2,
      natGateways: 1,
      subnetConfiguration: [
        { name: 'public', subnetType: SubnetType.PUBLIC },
        { name: 'relay', subnetType: SubnetType.PRIVATE_WITH_EGRESS },
        { name: 'database', subnetType: SubnetType.PRIVATE_ISOLATED },
      ],
    });
    // Scans would be paid for by the gigabyte on their way through NAT.
    vpc.addGatewayEndpoint('DynamoDb', { service: GatewayVpcEndpointAwsService.DYNAMODB });
    return vpc;
  }
  return Vpc.fromVpcAttributes(scope, 'Vpc', {
    vpcId: existing.vpcId,
    availabilityZones: [...existing.zones],
    privateSubnetIds: [...existing.subnetIds],
  });
}

export function relayDatabase(
  scope: Construct,
  settings: DeploySettings,
  vpc: IVpc,
): RelayDatabase {
  return settings.database ? existingDatabase(scope, settings.database) : trialDatabase(scope, vpc);
}

function existingDatabase(scope: Construct, database: ExistingDatabase): RelayDatabase {
  const { host, port, name, user, password, securityGroupId } = database;
  const url = `postgres://${encodeURIComponent(user)}@${host}:${port}/${encodeURIComponent(name)}`;
  const { partition, region, account } = Stack.of(scope);
  const way = {
    port: Port.tcp(port),
    securityGroup: SecurityGroup.fromSecurityGroupId(
      scope,
      'DatabaseSecurityGroup',
      securityGroupId,
    ),
  };
  if ('secretArn' in password)
    return {
      ...way,
      environment: { DATABASE_URL: url, DATABASE_SECRET_ARN: password.secretArn },
      rights: [allow(['secretsmanager:GetSecretValue'], password.secretArn)],
    };
  return {
    ...way,
    environment: { DATABASE_URL: url, DATABASE_AUTH: 'iam' },
    rights: [
      allow(
        ['rds-db:connect'],
        `arn:${partition}:rds-db:${region}:${account}:dbuser:${password.resourceId}/${user}`,
      ),
    ],
  };
}

const TRIAL_USER = 'rowcast';
const TRIAL_DATABASE = 'rowcast';

/** Small, and gone with the stack. */
function trialDatabase(scope: Construct, vpc: IVpc): RelayDatabase {
  const securityGroup = new SecurityGroup(scope, 'DatabaseSecurityGroup', {
    vpc,
    allowAllOutbound: false,
  });
  const engine = DatabaseInstanceEngine.postgres({ version: PostgresEngineVersion.VER_17 });
  const instance = new DatabaseInstance(scope, 'Database', {
    engine,
    instanceType: new InstanceType('t4g.micro'),
    vpc,
    vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
    securityGroups: [securityGroup],
    credentials: Credentials.fromGeneratedSecret(TRIAL_USER),
    databaseName: TRIAL_DATABASE,
    storageType: StorageType.GP3,
    allocatedStorage: 20,
    storageEncrypted: true,
    backupRetention: Duration.days(1),
    parameterGroup: new ParameterGroup(scope, 'DatabaseParameters', {
      engine,
      parameters: { 'rds.force_ssl': '1' },
    }),
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const secretArn = instance.secret?.secretArn ?? '';
  new CfnOutput(scope, 'DatabaseHost', { value: instance.dbInstanceEndpointAddress });
  new CfnOutput(scope, 'DatabaseSecretArn', { value: secretArn });
  return {
    environment: {
      DATABASE_URL: `postgres://${TRIAL_USER}@${instance.dbInstanceEndpointAddress}:${instance.dbInstanceEndpointPort}/${TRIAL_DATABASE}`,
      DATABASE_SECRET_ARN: secretArn,
    },
    rights: [allow(['secretsmanager:GetSecretValue'], secretArn)],
    port: Port.tcp(5432),
    securityGroup,
  };
}
