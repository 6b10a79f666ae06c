/**
 * An error in one line: the message of whatever was thrown, Postgres's hint, and the
 * causes.
 */
export function errorText(error: unknown): string {
  // A host of several addresses that refuses at each: Node's error has no message of its own.
  if (error instanceof AggregateError && !error.message)
    return error.errors.map(errorText).join('; ');
  if (!(error instanceof Error)) return String(error);
  const { name, message, cause } = error;
  const { hint } = error as { hint?: string };
  // The name of an AWS exception says more than its message: "ResourceNotFoundException: Requested
  // resource not found".
  const what =
    message && !name.endsWith('Exception') ? message : [name, message].filter(Boolean).join(': ');
  return `${what}${hint ? ` (${hint})` : ''}${cause ? `: ${errorText(cause)}` : ''}`;
}
