import { Duration } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  Dashboard,
  GraphWidget,
  type IMetric,
  Metric,
  TextWidget,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type { TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { Construct } from 'constructs';
import { ALARMS, type AlarmRule } from './alarms.ts';
import type { RelayService } from './relay-service.ts';
import type { DeploySettings } from './settings.ts';
import type { RowcastWebSocketApi } from './websocket-api.ts';

const MINUTE = Duration.minutes(1);

interface MonitoringDeps {
  readonly settings: DeploySettings;
  /** Where the relay's metrics are. */
  readonly namespace: string;
  readonly webSocket: RowcastWebSocketApi;
  readonly relay: RelayService;
  readonly table: TableV2;
}

/**
 * A dashboard, and alarms that go to a topic; docs/operations.md says what each means and what to
 * do first.
 */
export class Monitoring extends Construct {
  readonly #deps: MonitoringDeps;

  constructor(scope: Construct, deps: MonitoringDeps) {
    super(scope, 'Monitoring');
    this.#deps = deps;
    const topic = new Topic(this, 'Alarms', { enforceSSL: true });
    topic.addToResourcePolicy(
      new PolicyStatement({
        actions: ['sns:Publish'],
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        resources: [topic.topicArn],
      }),
    );
    const { alarmEmail } = deps.settings;
    if (alarmEmail) topic.addSubscription(new EmailSubscription(alarmEmail));
    const alarms = ALARMS.map((rule) => this.#alarm(rule, topic));
    this.#dashboard(alarms);
  }

  #alarm(rule: AlarmRule, topic: Topic): Alarm {
    const alarm = new Alarm(this, rule.name, {
      metric: this.#metricOf(rule),
      threshold: rule.threshold,
      comparisonOperator: rule.below
        ? ComparisonOperator.LESS_THAN_THRESHOLD
        : ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 5,
      datapointsToAlarm: rule.minutesOfFive,
      treatMissingData: rule.silenceIsBad
        ? TreatMissingData.BREACHING
        : TreatMissingData.NOT_BREACHING,
      alarmDescription: `${rule.means} First: ${rule.first}`,
    });
    alarm.addAlarmAction(new SnsAction(topic));
    alarm.addOkAction(new SnsAction(topic));
    return alarm;
  }

  #metricOf({
    source,
    metric,
    statistic,
  }: Pick<AlarmRule, 'source' | 'metric' | 'statistic'>): IMetric {
    const { webSocket, table } = this.#deps;
    const options = { statistic, period: MINUTE };
    if (source === 'relay') return this.#relay(metric, statistic);
    if (source === 'api') return webSocket.stage.metric(metric, options);
    if (source === 'connect') return webSocket.connect.metric(metric, options);
    return new Metric({
      namespace: 'AWS/DynamoDB',
      metricName: metric,
      dimensionsMap: { TableName: table.tableName },
      ...options,
    });
  }

  #relay(metricName: string, statistic: string): Metric {
    return new Metric({ namespace: this.#deps.namespace, metricName, statistic, period: MINUTE });
  }

  #dashboard(alarms: readonly Alarm[]): void {
    const { webSocket, relay } = this.#deps;
    const dashboard = new Dashboard(this, 'Dashboard', { defaultInterval: Duration.hours(3) });
    const graph = (title: string, left: IMetric[], right: IMetric[] = []) =>
      new GraphWidget({
        title,
        left,
        right,
        width: 8,
        height: 6,
        leftYAxis: { min: 0 },
        rightYAxis: { min: 0 },
      });
    const sum = (name: string) => this.#relay(name, 'Sum');
    const max = (name: string) => this.#relay(name, 'Maximum');
    const lambdas = [webSocket.connect, webSocket.disconnect];
    const { cluster, serviceName } = relay.service;
    const runningTasks = new Metric({
      namespace: 'ECS/ContainerInsights',
      metricName: 'RunningTaskCount',
      dimensionsMap: { ClusterName: cluster.clusterName, ServiceName: serviceName },
      statistic: 'Average',
      period: MINUTE,
    });
    const ofTable = (metric: string) =>
      this.#metricOf({ source: 'table', metric, statistic: 'Sum' });
    dashboard.addWidgets(
      new TextWidget({
        markdown: `# Rowcast\n${alarms.length} alarms; what each means and what to do first: docs/operations.md`,
        width: 24,
        height: 2,
      }),
    );
    dashboard.addWidgets(
      graph('Lag', [max('lag_events')], [max('lag_seconds')]),
      graph(
        'Posts by outcome',
        ['delivered', 'gone', 'throttled', 'rejected', 'failed'].map((each) =>
          sum(`posts_${each}`),
        ),
      ),
      graph('Time of a post', [max('post_duration_seconds_p50'), max('post_duration_seconds_p99')]),
      graph(
        'Connections',
        [max('connections')],
        [webSocket.stage.metric('ConnectCount', { statistic: 'Sum', period: MINUTE })],
      ),
      graph('Leader, relays', [max('leader'), runningTasks]),
      graph(
        'Notification queue, doorbell',
        [max('notification_queue_usage')],
        [sum('doorbell_wakes')],
      ),
      graph(
        'Lambda errors and duration',
        lambdas.map((each) => each.metricErrors({ period: MINUTE })),
        lambdas.map((each) => each.metricDuration({ period: MINUTE, statistic: 'p99' })),
      ),
      graph('DynamoDB throttles', [ofTable('ReadThrottleEvents'), ofTable('WriteThrottleEvents')]),
      graph('Relay CPU and memory', [
        relay.service.metricCpuUtilization(),
        relay.service.metricMemoryUtilization(),
      ]),
    );
  }
}
