import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CfnOutput, Duration, Stack } from 'aws-cdk-lib';
import {
  type CfnApi,
  CfnIntegration,
  CfnIntegrationResponse,
  CfnModel,
  CfnRoute,
  type CfnStage,
  WebSocketApi,
  type WebSocketRoute,
  WebSocketStage,
} from 'aws-cdk-lib/aws-apigatewayv2';
import {
  WebSocketLambdaIntegration,
  WebSocketMockIntegration,
} from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import type { TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  Architecture,
  type CfnFunction,
  Code,
  Function as LambdaFunction,
  Runtime,
  Tracing,
} from 'aws-cdk-lib/aws-lambda';
import { FilterPattern, MetricFilter } from 'aws-cdk-lib/aws-logs';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { PONG, unknownAction } from '../src/protocol/handshake.ts';
import { ROOMS_ACTION, ROOMS_MODEL, roomsTemplate } from '../src/protocol/rooms-route.ts';
import { logGroup } from './logs.ts';
import { allow } from './rights.ts';
import type { DeploySettings } from './settings.ts';

/** All that the template of the route `rooms` names: its role may write nothing else. */
const ROOMS_ATTRIBUTES = ['connectionId', 'wanted', 'wantedAt'];

/** Made by `npm run build`: the very files that the tests run in the local gateway. */
const BUNDLES = fileURLToPath(new URL('../dist/lambdas', import.meta.url));

/**
 * Requests that clients send are pings, one in four minutes, and new connections: 500 a second is
 * what AWS takes of those.
 */
const ROUTE_THROTTLE = { throttlingRateLimit: 2000, throttlingBurstLimit: 1000 };

/**
 * The WebSocket API: `$connect` and `$disconnect` are Lambdas, `rooms` writes to the table by
 * itself, `ping` and everything else are answered by MOCK integrations.
 */
export class RowcastWebSocketApi extends Construct {
  readonly api: WebSocketApi;
  readonly stage: WebSocketStage;
  readonly connect: LambdaFunction;
  readonly disconnect: LambdaFunction;
  /** The namespace of metrics that are counted in logs. */
  readonly #namespace: string;

  constructor(
    scope: Construct,
    deps: { settings: DeploySettings; table: TableV2; namespace: string },
  ) {
    super(scope, 'WebSocket');
    this.#namespace = deps.namespace;
    const { settings, table } = deps;
    const connect = this.#lambda('connect', {
      CONNECTIONS_TABLE: table.tableName,
      ...settings.auth,
    });
    connect.addToRolePolicy(allow(['dynamodb:PutItem'], table.tableArn));
    if (settings.auth.CONNECTIONS_PER_USER || settings.auth.CONNECTIONS_PER_ADDRESS)
      connect.addToRolePolicy(allow(['dynamodb:Query'], `${table.tableArn}/index/*`));
    (connect.node.defaultChild as CfnFunction).reservedConcurrentExecutions =
      settings.connectConcurrency;
    const secretArn = settings.jwtSecretArn === null ? this.#trialSecret() : settings.jwtSecretArn;
    if (secretArn) {
      connect.addEnvironment('JWT_SECRET_ARN', secretArn);
      connect.addToRolePolicy(allow(['secretsmanager:GetSecretValue'], secretArn));
      if (settings.secretsKmsKeyArn)
        connect.addToRolePolicy(allow(['kms:Decrypt'], settings.secretsKmsKeyArn));
    }
    const disconnect = this.#lambda('disconnect', { CONNECTIONS_TABLE: table.tableName });
    disconnect.addToRolePolicy(allow(['dynamodb:DeleteItem'], table.tableArn));
    this.connect = connect;
    this.disconnect = disconnect;

    this.api = new WebSocketApi(this, 'Api', {
      routeSelectionExpression: '$request.body.action',
      connectRouteOptions: { integration: new WebSocketLambdaIntegration('Connect', connect) },
      disconnectRouteOptions: {
        integration: new WebSocketLambdaIntegration('Disconnect', disconnect),
      },
    });
    const route = this.#rooms(table);
    this.#mock('ping', PONG);
    this.#mock('$default', unknownAction('$context.connectionId', '$context.requestId'));
    this.stage = new WebSocketStage(this, 'Stage', {
      webSocketApi: this.api,
      stageName: 'prod',
      autoDeploy: true,
    });
    const stage = this.stage.node.defaultChild as CfnStage;
    stage.defaultRouteSettings = {
      ...ROUTE_THROTTLE,
      dataTraceEnabled: false,
      detailedMetricsEnabled: true,
    };
    const limit = settings.connectsPerSecondLimit;
    stage.routeSettings = {
      $connect: {
        ThrottlingRateLimit: limit,
        ThrottlingBurstLimit: limit,
        DataTraceEnabled: false,
        DetailedMetricsEnabled: true,
      },
    };
    // A setting of a route that is not there yet fails the deployment.
    this.stage.node.addDependency(this.api, route);
    if (settings.accessLogs) this.#logAccess(stage);
  }

  /** The secret that signs a trial's tokens: an output says where it is. */
  #trialSecret(): string {
    const { secretArn } = new Secret(this, 'JwtSecret', {
      generateSecretString: { passwordLength: 48, excludePunctuation: true },
    });
    new CfnOutput(Stack.of(this), 'JwtSecretArn', {
      value: secretArn,
      description: 'Signs tokens (HS256)',
    });
    return secretArn;
  }

  #lambda(name: 'connect' | 'disconnect', environment: Record<string, string>): LambdaFunction {
    if (!existsSync(`${BUNDLES}/${name}.mjs`))
      throw new Error('the Lambdas are not built: run `npm run build` first');
    const id = `${name[0]?.toUpperCase()}${name.slice(1)}`;
    const logs = logGroup(this, `${id}Logs`);
    const role = new Role(this, `${id}Role`, {
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
    });
    logs.grantWrite(role);
    // Its handler answers 500 and does not throw: what it logs as an error is what Lambda's own
    // metric cannot see.
    new MetricFilter(this, `${id}Errors`, {
      logGroup: logs,
      filterPattern: FilterPattern.stringValue('$.level', '=', 'error'),
      metricNamespace: this.#namespace,
      metricName: `${name}_errors`,
      metricValue: '1',
    });
    return new LambdaFunction(this, id, {
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      handler: `${name}.handler`,
      code: Code.fromAsset(BUNDLES, { exclude: ['*', `!${name}.mjs`] }),
      environment,
      timeout: Duration.seconds(30),
      memorySize: 256,
      tracing: Tracing.DISABLED,
      role,
      logGroup: logs,
    });
  }

  /** The one API in it. */
  get logicalId(): string {
    return Stack.of(this).getLogicalId(this.api.node.defaultChild as CfnApi);
  }

  /**
   * A route answers by itself only with all four: a request template, an integration response, and
   * a route response with its selection expression; CDK's own construct leaves the integration
   * response out
   * (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-response.html).
   */
  #mock(routeKey: string, answer: string): void {
    const id = routeKey === '$default' ? 'UnknownAction' : 'Ping';
    const route: WebSocketRoute = this.api.addRoute(routeKey, {
      returnResponse: true,
      integration: new WebSocketMockIntegration(id, {
        templateSelectionExpression: '200',
        requestTemplates: { '200': '{"statusCode":200}' },
      }),
    });
    const integration = route.node
      .findAll()
      .find((child) => child instanceof CfnIntegration) as CfnIntegration;
    new CfnIntegrationResponse(this, `${id}Response`, {
      apiId: this.api.apiId,
      integrationId: integration.ref,
      integrationResponseKey: '/200/',
      templateSelectionExpression: '200',
      responseTemplates: { '200': answer },
    });
  }

  /**
   * API Gateway calls DynamoDB itself: the model lets a client's text through, the template makes
   * the request of it, and the role can write its two attributes of a connection's item and no
   * other (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html).
   */
  #rooms(table: TableV2): CfnRoute {
    const { apiId } = this.api;
    const role = new Role(this, 'RoomsRole', {
      assumedBy: new ServicePrincipal('apigateway.amazonaws.com'),
    });
    const right = allow(['dynamodb:UpdateItem'], table.tableArn);
    right.addConditions({
      'ForAllValues:StringEquals': { 'dynamodb:Attributes': ROOMS_ATTRIBUTES },
      StringEqualsIfExists: { 'dynamodb:ReturnValues': 'NONE' },
    });
    role.addToPolicy(right);
    const model = new CfnModel(this, 'RoomsModel', {
      apiId,
      name: 'Rooms',
      contentType: 'application/json',
      schema: ROOMS_MODEL,
    });
    const { region, partition } = Stack.of(this);
    const integration = new CfnIntegration(this, 'RoomsIntegration', {
      apiId,
      integrationType: 'AWS',
      integrationMethod: 'POST',
      integrationUri: `arn:${partition}:apigateway:${region}:dynamodb:action/UpdateItem`,
      credentialsArn: role.roleArn,
      passthroughBehavior: 'NEVER',
      templateSelectionExpression: '\\$default',
      requestTemplates: { $default: roomsTemplate(table.tableName) },
    });
    const route = new CfnRoute(this, 'RoomsRoute', {
      apiId,
      routeKey: ROOMS_ACTION,
      target: `integrations/${integration.ref}`,
      modelSelectionExpression: '$default',
      requestModels: { $default: 'Rooms' },
    });
    route.node.addDependency(model);
    return route;
  }

  /** Who connected when, and with what result: nothing of the query, which may hold a token. */
  #logAccess(stage: CfnStage): void {
    const logs = logGroup(this, 'AccessLogs');
    const fields = [
      'requestTime',
      'eventType',
      'routeKey',
      'status',
      'connectionId',
      'requestId',
      'integrationLatency',
    ];
    stage.accessLogSettings = {
      destinationArn: logs.logGroupArn,
      format: JSON.stringify(
        Object.fromEntries([
          ...fields.map((field) => [field, `$context.${field}`]),
          ['error', '$context.integrationErrorMessage'],
          ['sourceIp', '$context.identity.sourceIp'],
        ]),
      ),
    };
  }
}
