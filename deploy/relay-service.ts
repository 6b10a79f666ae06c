import { fileURLToPath } from 'node:url';
import { CfnOutput, Duration, Size, Stack } from 'aws-cdk-lib';
import type { WebSocketStage } from 'aws-cdk-lib/aws-apigatewayv2';
import type { TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { type IVpc, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { Platform } from 'aws-cdk-lib/aws-ecr-assets';
import {
  AvailabilityZoneRebalancing,
  AwsLogDriverMode,
  Cluster,
  ContainerImage,
  ContainerInsights,
  CpuArchitecture,
  FargateService,
  FargateTaskDefinition,
  LinuxParameters,
  LogDriver,
  OperatingSystemFamily,
  UlimitName,
} from 'aws-cdk-lib/aws-ecs';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { RelayDatabase } from './database.ts';
import { logGroup } from './logs.ts';
import { allow } from './rights.ts';
import type { DeploySettings } from './settings.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PORT = 8080;

/** The relay ends by itself within 25 s of SIGTERM; a slow host gets more. */
const STOP_TIMEOUT = Duration.seconds(60);

/** The relay on Fargate: no load balancer, no public IP, nothing that anybody connects to. */
export class RelayService extends Construct {
  readonly service: FargateService;
  readonly logs: LogGroup;

  constructor(
    scope: Construct,
    deps: {
      settings: DeploySettings;
      vpc: IVpc;
      database: RelayDatabase;
      table: TableV2;
      stage: WebSocketStage;
      namespace: string;
    },
  ) {
    super(scope, 'Relay');
    const { settings, vpc, database } = deps;
    this.logs = logGroup(this, 'Logs');
    const task = this.#task(deps);
    this.#grant(task, deps);
    const securityGroup = new SecurityGroup(this, 'SecurityGroup', {
      vpc,
      description: 'Rowcast relay: outgoing only',
    });
    // Its members reach a trial's database, too.
    if (!settings.database)
      new CfnOutput(Stack.of(this), 'RelaySecurityGroup', { value: securityGroup.securityGroupId });
    database.securityGroup.connections.allowFrom(securityGroup, database.port, 'Rowcast relay');
    const overlap = settings.rollout === 'overlap';
    this.service = new FargateService(this, 'Service', {
      cluster: new Cluster(this, 'Cluster', {
        vpc,
        containerInsightsV2: ContainerInsights.ENABLED,
      }),
      taskDefinition: task,
      desiredCount: settings.relays,
      securityGroups: [securityGroup],
      assignPublicIp: false,
      enableExecuteCommand: settings.exec,
      circuitBreaker: { rollback: true },
      minHealthyPercent: overlap ? 100 : 0,
      maxHealthyPercent: overlap ? 200 : 100,
      availabilityZoneRebalancing: overlap
        ? AvailabilityZoneRebalancing.ENABLED
        : AvailabilityZoneRebalancing.DISABLED,
    });
  }

  #task(deps: {
    settings: DeploySettings;
    database: RelayDatabase;
    table: TableV2;
    stage: WebSocketStage;
    namespace: string;
  }) {
    const { settings, database, table, stage, namespace } = deps;
    const task = new FargateTaskDefinition(this, 'Task', {
      cpu: settings.cpu,
      memoryLimitMiB: settings.memoryMiB,
      runtimePlatform: {
        cpuArchitecture: CpuArchitecture.ARM64,
        operatingSystemFamily: OperatingSystemFamily.LINUX,
      },
    });
    const container = task.addContainer('relay', {
      image: ContainerImage.fromAsset(ROOT, { platform: Platform.LINUX_ARM64 }),
      environment: {
        ...database.environment,
        WEBSOCKET_ENDPOINT: stage.callbackUrl,
        CONNECTIONS_TABLE: table.tableName,
        AWS_REGION: Stack.of(this).region,
        PORT: String(PORT),
        DIRECTORY_FEED: settings.directoryFeed,
        POST_RPS_LIMIT: String(settings.postsPerSecondLimit),
        METRICS_EMF: 'on',
        METRICS_EMF_NAMESPACE: namespace,
      },
      readonlyRootFilesystem: !settings.exec,
      user: 'node',
      stopTimeout: STOP_TIMEOUT,
      linuxParameters: new LinuxParameters(this, 'Linux', { initProcessEnabled: true }),
      // A standby is healthy: a deployment that waited for a second leader would be rolled back.
      healthCheck: {
        command: [
          'CMD',
          'node',
          '-e',
          `fetch('http://127.0.0.1:${PORT}/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))`,
        ],
        interval: Duration.seconds(15),
        timeout: Duration.seconds(5),
        retries: 3,
        startPeriod: Duration.seconds(60),
      },
      // Logs that cannot be sent are dropped at last; a relay that waits for them would deliver
      // nothing.
      logging: LogDriver.awsLogs({
        logGroup: this.logs,
        streamPrefix: 'relay',
        mode: AwsLogDriverMode.NON_BLOCKING,
        maxBufferSize: Size.mebibytes(25),
      }),
    });
    container.addUlimits({ name: UlimitName.NOFILE, softLimit: 65_535, hardLimit: 65_535 });
    return task;
  }

  /**
   * The least rights that the relay needs: read and clean up the table, post to and close
   * connections, fetch its password.
   */
  #grant(
    task: FargateTaskDefinition,
    {
      settings,
      database,
      table,
      stage,
    }: { settings: DeploySettings; database: RelayDatabase; table: TableV2; stage: WebSocketStage },
  ): void {
    const { partition, region, account } = Stack.of(this);
    const api = `arn:${partition}:execute-api:${region}:${account}:${stage.api.apiId}/${stage.stageName}`;
    const rights = [
      allow(
        [
          'dynamodb:Scan',
          'dynamodb:DeleteItem',
          'dynamodb:DescribeTable',
          'dynamodb:DescribeTimeToLive',
        ],
        table.tableArn,
      ),
      // Connection ids are only known when clients connect: any of this stage's.
      allow(
        ['execute-api:ManageConnections'],
        ...['POST', 'DELETE'].map((method) => `${api}/${method}/@connections/*`),
      ),
      ...database.rights,
    ];
    if (settings.directoryFeed === 'stream')
      rights.push(
        allow(
          ['dynamodb:DescribeStream', 'dynamodb:GetShardIterator', 'dynamodb:GetRecords'],
          table.tableStreamArn as string,
        ),
      );
    if (settings.secretsKmsKeyArn) rights.push(allow(['kms:Decrypt'], settings.secretsKmsKeyArn));
    for (const right of rights) task.addToTaskRolePolicy(right);
  }
}
