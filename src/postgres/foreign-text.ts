/** The database's encoding has no such text: a name of a client's, which no row can hold. */
export function isForeignText(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === '22P05' || code === '22021';
}
