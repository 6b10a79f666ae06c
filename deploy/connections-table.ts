import { RemovalPolicy } from 'aws-cdk-lib';
import {
  AttributeType,
  Billing,
  StreamViewType,
  TableEncryptionV2,
  TableV2,
} from 'aws-cdk-lib/aws-dynamodb';
import type { Construct } from 'constructs';

/** Who is connected. Nothing in it outlives its clients: it goes with the stack. */
export function connectionsTable(scope: Construct, options: { byAddress: boolean }): TableV2 {
  return new TableV2(scope, 'Connections', {
    partitionKey: { name: 'connectionId', type: AttributeType.STRING },
    globalSecondaryIndexes: ['userId', ...(options.byAddress ? ['address'] : [])].map((name) => ({
      indexName: `${name}-index`,
      partitionKey: { name, type: AttributeType.STRING },
    })),
    timeToLiveAttribute: 'ttl',
    dynamoStream: StreamViewType.NEW_AND_OLD_IMAGES,
    billing: Billing.onDemand(),
    encryption: TableEncryptionV2.awsManagedKey(),
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    removalPolicy: RemovalPolicy.DESTROY,
  });
}
