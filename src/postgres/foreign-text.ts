/** The database's encoding has no such text: a name of a client's, which no row can hold. */
export function isForeignText(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === '22P05' || code === '22021';
}

/**
 * Runs a statement for all items, and where the database has no text for some, for the others.
 * @param alone instead of the statement for one of those, by itself
 */
export async function withoutForeignText<Item, Row>(
  items: readonly Item[],
  run: (items: readonly Item[]) => Promise<Row[]>,
  alone: (item: Item) => Promise<Row[]> = async () => [],
): Promise<Row[]> {
  try {
    return await run(items);
  } catch (error) {
    const [first] = items;
    if (!isForeignText(error) || first === undefined) throw error;
    if (items.length === 1) return alone(first);
    const middle = Math.ceil(items.length / 2);
    return [
      ...(await withoutForeignText(items.slice(0, middle), run, alone)),
      ...(await withoutForeignText(items.slice(middle), run, alone)),
    ];
  }
}
