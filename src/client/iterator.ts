import { Queue } from './queue.ts';

/**
 * Messages from now on, one by one; those that the loop has not taken yet are kept. Ends, after
 * those, when the signal aborts, and at once when the loop is left.
 */
export function iterator<Item>(
  listen: (listener: (item: Item) => void) => () => void,
  signal: AbortSignal,
): AsyncIterableIterator<Item> {
  const kept = new Queue<{ item: Item }>();
  const asking = new Queue<(result: IteratorResult<Item, undefined>) => void>();
  let over = signal.aborted;
  const answer = (done: (result: IteratorResult<Item, undefined>) => void): boolean => {
    const next = kept.take();
    if (next) done({ value: next.item, done: false });
    else if (over) done({ value: undefined, done: true });
    return next !== undefined || over;
  };
  const end = () => {
    over = true;
    stop();
    signal.removeEventListener('abort', end);
    for (let ask = asking.take(); ask; ask = asking.take()) answer(ask);
  };
  const stop = listen((item) => {
    const ask = asking.take();
    if (ask) ask({ value: item, done: false });
    else kept.push({ item });
  });
  if (over) stop();
  else signal.addEventListener('abort', end);
  return {
    next: () =>
      new Promise((resolve) => {
        if (!answer(resolve)) asking.push(resolve);
      }),
    return: async () => {
      while (kept.take());
      end();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
