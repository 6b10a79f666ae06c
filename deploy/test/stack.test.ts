import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { App, Validations } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AwsSolutionsChecks } from 'cdk-nag';
import { describe, expect, test } from 'vitest';
import { acknowledgements } from '../acknowledgements.ts';
import { ALARMS } from '../alarms.ts';
import { loadDeploySettings } from '../settings.ts';
import { RowcastStack } from '../stack.ts';
import { taskDefinition } from '../task-definition.ts';
import { EXISTING, JWT } from './contexts.ts';

function stackOf(context: Record<string, unknown>) {
  const app = new App();
  const settings = loadDeploySettings(context);
  return { app, settings, stack: new RowcastStack(app, 'Rowcast', settings) };
}

const synthesise = (context: Record<string, unknown>) => ({
  template: Template.fromStack(stackOf(context).stack),
});

type Resource = { Properties: Record<string, unknown> };
const only = (template: Template, type: string) =>
  Object.values(template.findResources(type)) as Resource[];

describe('the WebSocket API', () => {
  const { template } = synthesise(EXISTING);

  test('has five routes: two Lambdas, and three that do without one', () => {
    const routes = only(template, 'AWS::ApiGatewayV2::Route').map(
      ({ Properties }) => Properties.RouteKey,
    );
    expect(routes.sort()).toEqual(['$connect', '$default', '$disconnect', 'ping', 'rooms']);
    const kinds = only(template, 'AWS::ApiGatewayV2::Integration').map(
      ({ Properties }) => Properties.IntegrationType,
    );
    expect(kinds.sort()).toEqual(['AWS', 'AWS_PROXY', 'AWS_PROXY', 'MOCK', 'MOCK']);
  });

  test('answers ping with pong and anything else with an error, by all four parts that a MOCK route needs', () => {
    for (const [key, answer] of [
      ['ping', '{"type":"pong"}'],
      ['$default', Match.stringLikeRegexp('"type":"ERROR".*\\$context.connectionId')],
    ] as const) {
      template.hasResourceProperties('AWS::ApiGatewayV2::Route', {
        RouteKey: key,
        RouteResponseSelectionExpression: '$default',
      });
      template.hasResourceProperties('AWS::ApiGatewayV2::IntegrationResponse', {
        IntegrationResponseKey: '/200/',
        TemplateSelectionExpression: '200',
        ResponseTemplates: { '200': answer },
      });
    }
    template.resourceCountIs('AWS::ApiGatewayV2::RouteResponse', 2);
    template.allResourcesProperties('AWS::ApiGatewayV2::RouteResponse', {
      RouteResponseKey: '$default',
    });
    for (const { Properties } of only(template, 'AWS::ApiGatewayV2::Integration'))
      if (Properties.IntegrationType === 'MOCK')
        expect(Properties).toMatchObject({
          RequestTemplates: { '200': '{"statusCode":200}' },
          TemplateSelectionExpression: '200',
        });
  });

  test('writes the rooms that a client asks for to its item: by model, template and a role that can do nothing else', () => {
    const [[model]] = [Object.keys(template.findResources('AWS::ApiGatewayV2::Model'))];
    template.hasResourceProperties('AWS::ApiGatewayV2::Model', {
      Name: 'Rooms',
      ContentType: 'application/json',
      Schema: {
        required: ['action', 'rooms'],
        properties: { rooms: { type: 'string', maxLength: 13_000 } },
      },
    });
    template.hasResource('AWS::ApiGatewayV2::Route', {
      Properties: {
        RouteKey: 'rooms',
        ModelSelectionExpression: '$default',
        RequestModels: { $default: 'Rooms' },
        RouteResponseSelectionExpression: Match.absent(),
      },
      DependsOn: Match.arrayWith([model]),
    });
    const [integration] = only(template, 'AWS::ApiGatewayV2::Integration').filter(
      ({ Properties }) => Properties.IntegrationType === 'AWS',
    );
    expect(integration?.Properties).toMatchObject({
      IntegrationMethod: 'POST',
      PassthroughBehavior: 'NEVER',
      TemplateSelectionExpression: '\\$default',
    });
    expect(JSON.stringify(integration?.Properties.IntegrationUri)).toContain(
      'dynamodb:action/UpdateItem',
    );
    const text = JSON.stringify(integration?.Properties.RequestTemplates);
    expect(text).toContain("$input.json('$.rooms')");
    expect(text).toContain('attribute_exists(connectionId)');
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          {
            Action: 'dynamodb:UpdateItem',
            Effect: 'Allow',
            Condition: {
              'ForAllValues:StringEquals': {
                'dynamodb:Attributes': ['connectionId', 'wanted', 'wantedAt'],
              },
            },
          },
        ],
      },
    });
  });

  test('runs its Lambdas on the current Node, arm64, 256 MB, 30 s, from the bundles, with logs that end', () => {
    template.resourceCountIs('AWS::Lambda::Function', 2);
    template.allResourcesProperties('AWS::Lambda::Function', {
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      Timeout: 30,
      MemorySize: 256,
    });
    expect(
      only(template, 'AWS::Lambda::Function')
        .map(({ Properties }) => Properties.Handler)
        .sort(),
    ).toEqual(['connect.handler', 'disconnect.handler']);
    template.allResourcesProperties('AWS::Logs::LogGroup', { RetentionInDays: 30 });
  });

  test('throttles, logs no data, and logs access only where that is asked for, without a query', () => {
    template.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
      AutoDeploy: true,
      DefaultRouteSettings: {
        ThrottlingRateLimit: 2000,
        ThrottlingBurstLimit: 1000,
        DataTraceEnabled: false,
      },
      AccessLogSettings: Match.absent(),
    });
    const [stage] = only(
      synthesise({ ...EXISTING, accessLogs: 'true' }).template,
      'AWS::ApiGatewayV2::Stage',
    );
    const { Format } = (stage as Resource).Properties.AccessLogSettings as { Format: string };
    expect(Format).toContain('$context.connectionId');
    expect(Format).not.toMatch(/query|header|authorizer|token/i);
  });

  test('knows the secret that signs tokens by its ARN alone', () => {
    template.hasResourceProperties('AWS::Lambda::Function', {
      Handler: 'connect.handler',
      Environment: { Variables: { JWT_SECRET_ARN: JWT.jwtSecretArn, JWT_SECRET: Match.absent() } },
    });
  });
});

test('the table has its key, index, TTL, stream, recovery and encryption, and is paid by use', () => {
  synthesise(EXISTING).template.hasResourceProperties('AWS::DynamoDB::GlobalTable', {
    KeySchema: [{ AttributeName: 'connectionId', KeyType: 'HASH' }],
    GlobalSecondaryIndexes: [
      Match.objectLike({
        IndexName: 'userId-index',
        KeySchema: [{ AttributeName: 'userId', KeyType: 'HASH' }],
      }),
    ],
    TimeToLiveSpecification: { AttributeName: 'ttl', Enabled: true },
    StreamSpecification: { StreamViewType: 'NEW_AND_OLD_IMAGES' },
    BillingMode: 'PAY_PER_REQUEST',
    SSESpecification: { SSEEnabled: true, SSEType: 'KMS' },
    Replicas: [
      Match.objectLike({ PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true } }),
    ],
  });
});

describe('the relay', () => {
  const { template } = synthesise(EXISTING);

  test('runs on arm64 without root, a writable file system or a public address, with an init and time to stop', () => {
    template.hasResourceProperties('AWS::ECS::TaskDefinition', {
      RuntimePlatform: { CpuArchitecture: 'ARM64', OperatingSystemFamily: 'LINUX' },
      ContainerDefinitions: [
        Match.objectLike({
          User: 'node',
          ReadonlyRootFilesystem: true,
          StopTimeout: 60,
          LinuxParameters: Match.objectLike({ InitProcessEnabled: true }),
          HealthCheck: Match.objectLike({
            Command: Match.arrayWith([Match.stringLikeRegexp('/healthz')]),
          }),
          LogConfiguration: {
            LogDriver: 'awslogs',
            Options: Match.objectLike({ mode: 'non-blocking', 'max-buffer-size': '26214400b' }),
          },
        }),
      ],
    });
    template.hasResourceProperties('AWS::ECS::Service', {
      DesiredCount: 2,
      NetworkConfiguration: {
        AwsvpcConfiguration: Match.objectLike({ AssignPublicIp: 'DISABLED' }),
      },
      LoadBalancers: Match.absent(),
    });
  });

  test.each([
    ['overlap', 100, 200],
    ['recreate', 0, 100],
  ])('is rolled out by %s, and rolled back when it does not start', (rollout, least, most) => {
    synthesise({ ...EXISTING, rollout }).template.hasResourceProperties('AWS::ECS::Service', {
      DeploymentConfiguration: {
        MinimumHealthyPercent: least,
        MaximumPercent: most,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
    });
  });

  test('is told where the gateway, the table and the database are, and no secret', () => {
    const [task] = only(template, 'AWS::ECS::TaskDefinition');
    const [container] = (task as Resource).Properties.ContainerDefinitions as {
      Environment: { Name: string; Value: unknown }[];
    }[];
    const variables = Object.fromEntries(
      container?.Environment.map(({ Name, Value }) => [Name, Value]) ?? [],
    );
    expect(variables).toMatchObject({
      DATABASE_URL: 'postgres://rowcast_relay@db.abc.eu-west-1.rds.amazonaws.com:5432/postgres',
      DATABASE_SECRET_ARN: EXISTING.databaseSecretArn,
      METRICS_EMF: 'on',
      METRICS_EMF_NAMESPACE: 'Rowcast/Rowcast',
    });
    expect(JSON.stringify(variables.WEBSOCKET_ENDPOINT)).toMatch(
      /https:\/\/.*execute-api.*\/prod"/,
    );
    expect(JSON.stringify(task)).not.toMatch(/resolve:secretsmanager/);
  });

  test('may do what it does and nothing else', () => {
    const actions = (of: Template) =>
      only(of, 'AWS::IAM::Policy')
        .flatMap(
          ({ Properties }) =>
            (
              Properties.PolicyDocument as {
                Statement: { Action: string | string[]; Resource: unknown }[];
              }
            ).Statement,
        )
        .map(
          ({ Action, Resource }) =>
            [[Action].flat().sort().join(), JSON.stringify(Resource)] as const,
        );
    const all = actions(template);
    expect([...new Set(all.flatMap(([each]) => each.split(',')))].sort()).toEqual([
      'dynamodb:DeleteItem',
      'dynamodb:DescribeTable',
      'dynamodb:DescribeTimeToLive',
      'dynamodb:PutItem',
      'dynamodb:Scan',
      'dynamodb:UpdateItem',
      'ecr:BatchCheckLayerAvailability',
      'ecr:BatchGetImage',
      'ecr:GetAuthorizationToken',
      'ecr:GetDownloadUrlForLayer',
      'execute-api:ManageConnections',
      'logs:CreateLogStream',
      'logs:PutLogEvents',
      'secretsmanager:GetSecretValue',
    ]);
    expect(
      all
        .filter(([, resource]) => resource.includes('*'))
        .map(([action]) => action)
        .sort(),
    ).toEqual(['ecr:GetAuthorizationToken', 'execute-api:ManageConnections']);
    const streamed = actions(
      synthesise({ ...EXISTING, directoryFeed: 'stream', rollout: 'recreate' }).template,
    ).flatMap(([each]) => each.split(','));
    expect(streamed).toEqual(
      expect.arrayContaining([
        'dynamodb:DescribeStream',
        'dynamodb:GetRecords',
        'dynamodb:GetShardIterator',
      ]),
    );
  });

  test('reaches an existing database through its security group, or by tokens of IAM', () => {
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      GroupId: EXISTING.databaseSecurityGroupId,
      FromPort: 5432,
      ToPort: 5432,
    });
    const { databaseSecretArn: _, ...others } = EXISTING;
    const iam = synthesise({ ...others, databaseResourceId: 'db-ABCDEFGHIJKL' }).template;
    iam.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: Match.objectLike({
        Statement: Match.arrayWith([Match.objectLike({ Action: 'rds-db:connect' })]),
      }),
    });
    expect(JSON.stringify(iam.toJSON())).toContain(':dbuser:db-ABCDEFGHIJKL/rowcast_relay');
  });
});

test('each role may do its own work, on what it works with', () => {
  const keyArn = 'arn:aws:kms:eu-west-1:123456789012:key/0123';
  const { template } = synthesise({ ...EXISTING, secretsKmsKeyArn: keyArn });
  const rights = Object.entries(template.findResources('AWS::IAM::Policy')).map(
    ([id, { Properties }]) => {
      const { Statement } = (
        Properties as {
          PolicyDocument: { Statement: { Action: string | string[]; Resource: unknown }[] };
        }
      ).PolicyDocument;
      return [
        id,
        Statement.map(
          ({ Action, Resource }) => `${[Action].flat().sort().join()} ${JSON.stringify(Resource)}`,
        ),
      ] as const;
    },
  );
  const of = (prefix: string) => rights.find(([id]) => id.startsWith(prefix))?.[1].join('\n') ?? '';
  expect(of('WebSocketConnectRole')).toMatch(
    /dynamodb:PutItem .*Connections.*\n.*GetSecretValue .*secret:jwt.*\nkms:Decrypt .*key\/0123/,
  );
  expect(of('WebSocketConnectRole')).not.toMatch(/DeleteItem|secret:db/);
  expect(of('WebSocketDisconnectRole')).toMatch(/dynamodb:DeleteItem .*Connections/);
  expect(of('WebSocketDisconnectRole')).not.toMatch(/PutItem|secret:/);
  expect(of('RelayTaskTaskRole')).toMatch(
    /Scan[\s\S]*ManageConnections[\s\S]*GetSecretValue .*secret:db[\s\S]*kms:Decrypt/,
  );
  expect(of('RelayTaskTaskRole')).not.toMatch(/PutItem|secret:jwt/);
});

test('each route leads to its own integration, and each MOCK to its own answer', () => {
  const { template } = synthesise(EXISTING);
  const integrations = template.findResources('AWS::ApiGatewayV2::Integration');
  const responses = Object.values(
    template.findResources('AWS::ApiGatewayV2::IntegrationResponse'),
  ) as Resource[];
  const answers = Object.fromEntries(
    only(template, 'AWS::ApiGatewayV2::Route').map(({ Properties }) => {
      const target =
        /"([^"]*(?:Connect|Disconnect|Ping|Rooms|UnknownAction)[^"]*)"/.exec(
          JSON.stringify(Properties.Target),
        )?.[1] ?? '';
      const response = responses.find(
        ({ Properties: { IntegrationId } }) => (IntegrationId as { Ref: string }).Ref === target,
      );
      const uri = JSON.stringify(
        (integrations[target] as Resource).Properties.IntegrationUri ?? '',
      );
      const lambda = /WebSocket(Connect|Disconnect)[0-9A-F]{8}/.exec(uri)?.[1];
      return [
        Properties.RouteKey,
        lambda ?? JSON.stringify(response?.Properties.ResponseTemplates) ?? uri,
      ];
    }),
  );
  expect(answers).toEqual({
    $connect: 'Connect',
    $disconnect: 'Disconnect',
    ping: JSON.stringify({ '200': '{"type":"pong"}' }),
    rooms: expect.stringContaining('UpdateItem'),
    $default: expect.stringContaining('ERROR'),
  });
});

test('a trial makes its own VPC and a small encrypted database that takes TLS alone', () => {
  const { template } = synthesise({});
  expect(Object.keys(template.findOutputs('*'))).toEqual(
    expect.arrayContaining([
      'JwtSecretArn',
      'DatabaseHost',
      'DatabaseSecretArn',
      'RelaySecurityGroup',
    ]),
  );
  template.resourceCountIs('AWS::EC2::VPC', 1);
  template.hasResourceProperties('AWS::EC2::VPCEndpoint', { VpcEndpointType: 'Gateway' });
  template.hasResourceProperties('AWS::RDS::DBInstance', {
    DBInstanceClass: 'db.t4g.micro',
    StorageEncrypted: true,
    PubliclyAccessible: false,
  });
  template.hasResourceProperties('AWS::RDS::DBParameterGroup', {
    Parameters: { 'rds.force_ssl': '1' },
  });
  synthesise(EXISTING).template.resourceCountIs('AWS::EC2::VPC', 0);
});

test('the outputs are what clients and operators need', () => {
  expect(Object.keys(synthesise(EXISTING).template.findOutputs('*')).sort()).toEqual([
    'ConnectionsTable',
    'RelayCluster',
    'RelayLogGroup',
    'RelayService',
    'WebSocketUrl',
  ]);
});

test('each alarm is made as it is described, and docs/operations.md says what it means and what to do', async () => {
  const { template } = synthesise({ ...EXISTING, alarmEmail: 'ops@example.com' });
  const docs = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const made = only(template, 'AWS::CloudWatch::Alarm').map(({ Properties }) => Properties);
  expect(made).toHaveLength(ALARMS.length);
  template.resourceCountIs('AWS::Logs::MetricFilter', 2);
  template.allResourcesProperties('AWS::Logs::MetricFilter', {
    FilterPattern: '{ $.level = "error" }',
  });
  for (const { name, metric, means, first } of ALARMS) {
    expect(made).toContainEqual(
      expect.objectContaining({ MetricName: metric, AlarmDescription: `${means} First: ${first}` }),
    );
    expect(docs).toContain(`| ${name} | ${means} | ${first} |`);
  }
  template.hasResourceProperties('AWS::SNS::Subscription', {
    Protocol: 'email',
    Endpoint: 'ops@example.com',
  });
  template.resourceCountIs('AWS::CloudWatch::Dashboard', 1);
});

test.each([
  ['an existing VPC and database', EXISTING],
  ['a trial', {}],
  ['with ECS Exec', { ...EXISTING, exec: true }],
])(
  'cdk-nag finds nothing that is not acknowledged, and each acknowledgement is needed: %s',
  (_, context) => {
    const { app, settings, stack } = stackOf(context);
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    const { directory } = app.synth();
    const report = JSON.parse(readFileSync(join(directory, 'validation-report.json'), 'utf8')) as {
      pluginReports: {
        violations: unknown[];
        suppressedViolations: { acknowledgedId: string }[];
      }[];
    };
    const [nag] = report.pluginReports;
    expect(nag?.violations).toEqual([]);
    const needed = new Set(nag?.suppressedViolations.map(({ acknowledgedId }) => acknowledgedId));
    const given = Object.keys(acknowledgements(settings, stack.webSocketApiId)).map(
      (rule) => `AwsSolutions::${rule}`,
    );
    expect([...needed].sort()).toEqual(given.sort());
  },
);

test('commands are run beside the relay where that is asked for, and nowhere else', () => {
  for (const exec of [true, false]) {
    const { template } = synthesise({ ...EXISTING, exec });
    template.hasResourceProperties('AWS::ECS::Service', { EnableExecuteCommand: exec });
    template.hasResourceProperties('AWS::ECS::TaskDefinition', {
      ContainerDefinitions: [Match.objectLike({ ReadonlyRootFilesystem: !exec })],
    });
    expect(JSON.stringify(template.toJSON()).includes('ssmmessages:')).toBe(exec);
  }
});

test('the task definition for others is what the stack makes, with placeholders for what an account knows', () => {
  const json = JSON.stringify(taskDefinition(synthesise(EXISTING).template));
  expect(JSON.parse(json)).toMatchObject({
    family: 'rowcast-relay',
    networkMode: 'awsvpc',
    requiresCompatibilities: ['FARGATE'],
    containerDefinitions: [
      {
        readonlyRootFilesystem: true,
        stopTimeout: 60,
        linuxParameters: { initProcessEnabled: true },
        logConfiguration: { logDriver: 'awslogs', options: { mode: 'non-blocking' } },
        environment: expect.arrayContaining([{ name: 'PORT', value: '8080' }]),
      },
    ],
  });
  expect(json).not.toMatch(/"Ref"|"Fn::/);
});

test('handshakes have a limit of their own, and so have the connections of a user and an address', () => {
  const { template } = synthesise({
    ...EXISTING,
    connectionsPerUser: '20',
    connectionsPerAddress: '200',
    connectConcurrency: '50',
  });
  template.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
    RouteSettings: { $connect: Match.objectLike({ ThrottlingRateLimit: 500 }) },
  });
  template.hasResourceProperties('AWS::Lambda::Function', {
    ReservedConcurrentExecutions: 50,
    Environment: {
      Variables: Match.objectLike({ CONNECTIONS_PER_USER: '20', CONNECTIONS_PER_ADDRESS: '200' }),
    },
  });
  template.hasResourceProperties('AWS::DynamoDB::GlobalTable', {
    GlobalSecondaryIndexes: [
      Match.objectLike({ IndexName: 'userId-index' }),
      Match.objectLike({ IndexName: 'address-index' }),
    ],
  });
  template.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: Match.objectLike({
      Statement: Match.arrayWith([Match.objectLike({ Action: 'dynamodb:Query' })]),
    }),
  });
});
