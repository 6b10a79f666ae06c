/**
 * Messages from now on, one by one; those that the loop has not taken yet are kept. Ends, after
 * those, when the signal aborts, and at once when the loop is left.
 */
export function iterator<Item>(
  listen: (listener: (item: Item) => void) => () => void,
  signal: AbortSignal,
): AsyncIterableIterator<Item> {
  let kept: Item[] = [];
  let isLeft = signal.aborted;
  let wake = () => {};
  const stop = listen((item) => {
    kept.push(item);
    wake();
  });
  const closed = () => wake();
  signal.addEventListener('abort', closed);
  const end = () => {
    stop();
    signal.removeEventListener('abort', closed);
    isLeft = true;
    wake();
  };
  const items = (async function* () {
    while (!isLeft) {
      const taken = kept;
      kept = [];
      for (const item of taken) if (!isLeft) yield item;
      if (kept.length > 0) continue;
      if (signal.aborted) end();
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  })();
  // A generator's own return() waits for the item that next() waits for.
  return Object.assign(items, {
    return: async () => {
      end();
      return { value: undefined, done: true as const };
    },
  });
}
