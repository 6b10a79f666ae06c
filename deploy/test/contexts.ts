/** The settings of a deployment beside an existing VPC and database. */
export const JWT = {
  jwtSecretArn: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:jwt-AbCdEf',
};
export const EXISTING = {
  ...JWT,
  vpcId: 'vpc-0123456789abcdef0',
  zones: 'eu-west-1a,eu-west-1b',
  subnetIds: 'subnet-0123456789abcdef0,subnet-0123456789abcdef1',
  databaseHost: 'db.abc.eu-west-1.rds.amazonaws.com',
  databaseUser: 'rowcast_relay',
  databaseSecretArn: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf',
  databaseSecurityGroupId: 'sg-0123456789abcdef0',
};
