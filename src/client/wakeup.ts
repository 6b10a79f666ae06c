/** A browser's page, which Node does not have. */
interface Page {
  readonly addEventListener?: (type: string, listener: () => void) => void;
  readonly removeEventListener?: (type: string, listener: () => void) => void;
  readonly document?: Pick<Required<Page>, 'addEventListener' | 'removeEventListener'> & {
    readonly hidden: boolean;
  };
  readonly navigator?: { readonly onLine?: boolean };
}

const page = globalThis as unknown as Page;

/**
 * False where the browser knows that there is no network. It is a hint: what is on this machine is
 * reached all the same.
 */
export function isOnline(): boolean {
  return page.navigator?.onLine !== false;
}

/**
 * Calls back when the network came (`online`) or went, when a tab is looked at again, and when a
 * page comes back from the cache or a machine from its sleep (`focus`: a tab that stayed in front
 * hears nothing else).
 * @returns stops it
 */
export function onWakeup(listener: (online: boolean) => void): () => void {
  const look = () => {
    if (!page.document?.hidden) listener(false);
  };
  const heard: [
    Pick<Page, 'addEventListener' | 'removeEventListener'> | undefined,
    string,
    () => void,
  ][] = [
    [page, 'online', () => listener(true)],
    [page, 'offline', () => listener(false)],
    [page, 'pageshow', look],
    [page, 'focus', look],
    [page.document, 'visibilitychange', look],
  ];
  for (const [target, type, act] of heard) target?.addEventListener?.(type, act);
  return () => {
    for (const [target, type, act] of heard) target?.removeEventListener?.(type, act);
  };
}
