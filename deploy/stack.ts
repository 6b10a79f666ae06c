import { CfnOutput, Stack } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { acknowledge } from './acknowledgements.ts';
import { connectionsTable } from './connections-table.ts';
import { network, relayDatabase } from './database.ts';
import { Monitoring } from './monitoring.ts';
import { RelayService } from './relay-service.ts';
import type { DeploySettings } from './settings.ts';
import { RowcastWebSocketApi } from './websocket-api.ts';

/**
 * All of Rowcast in one account and Region. Knows neither account nor Region when it is
 * synthesised.
 *
 *     clients ── WebSocket API ── $connect, $disconnect ──▶ table
 *                     ▲                                       │
 *     database ──▶ relay (Fargate) ◀──────────────────────────┘
 */
export class RowcastStack extends Stack {
  /** Its logical id in the template. */
  readonly webSocketApiId: string;

  constructor(scope: Construct, id: string, settings: DeploySettings) {
    super(scope, id, {
      description: 'Rowcast: relays committed Postgres rows to WebSocket clients.',
    });
    const vpc = network(this, settings);
    const table = connectionsTable(this, {
      byAddress: settings.auth.CONNECTIONS_PER_ADDRESS !== undefined,
    });
    const database = relayDatabase(this, settings, vpc);
    const namespace = `Rowcast/${id}`;
    const webSocket = new RowcastWebSocketApi(this, { settings, table, namespace });
    const relay = new RelayService(this, {
      settings,
      vpc,
      database,
      table,
      stage: webSocket.stage,
      namespace,
    });
    new Monitoring(this, { settings, namespace, webSocket, relay, table });
    this.webSocketApiId = webSocket.logicalId;
    acknowledge(this, settings, this.webSocketApiId);
    new CfnOutput(this, 'WebSocketUrl', {
      value: webSocket.stage.url,
      description: 'Where clients connect',
    });
    new CfnOutput(this, 'ConnectionsTable', { value: table.tableName });
    new CfnOutput(this, 'RelayCluster', { value: relay.service.cluster.clusterName });
    new CfnOutput(this, 'RelayService', { value: relay.service.serviceName });
    new CfnOutput(this, 'RelayLogGroup', { value: relay.logs.logGroupName });
  }
}
