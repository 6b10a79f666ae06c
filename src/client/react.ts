/**
 * React: one feed for all components below a `<RowcastProvider>`.
 *
 * The feed belongs to the provider's element: it connects when that is mounted, and closes a moment after it is gone. The moment is
 * for StrictMode, which unmounts and mounts everything once more: the same socket goes on. Components only listen.
 */
import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from 'react';
import { type ConnectOptions, connect, type Feed, type Message, type Ready, type Status } from './connect.ts';
import { Listeners } from './listeners.ts';

export interface RowcastState<Map extends object = Record<string, unknown>> {
  readonly status: Status;
  /** `live` or `replaying`. */
  readonly isConnected: boolean;
  /** Several may come between two renderings: to see each, pass `onMessage`. */
  readonly lastMessage: Message<Map> | null;
  /** When the last message came, epoch ms. */
  readonly lastUpdate: number | null;
  /** Of the last READY: whether nothing was missed; null before the first. */
  readonly recovered: boolean | null;
}

export interface RowcastHandlers<Map extends object = Record<string, unknown>> {
  /** Each message, in order. */
  readonly onMessage?: (message: Message<Map>) => void;
  /** Fetch what is shown when it is the `first`, or not `recovered`. */
  readonly onReady?: (ready: Ready) => void;
}

/** Options as for `connect`. Another url, other rooms or another `key` make another feed; changed callbacks are taken up as they are. */
export type RowcastProviderProps = ConnectOptions & { readonly children?: ReactNode };

const Context = createContext<SharedFeed | null>(null);

export function RowcastProvider({ children, ...options }: RowcastProviderProps): ReactNode {
  const latest = useLatest(options);
  const { url, rooms = [] } = options;
  const joined = rooms.join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: url and rooms are what a feed is made for
  const shared = useMemo(() => new SharedFeed(() => connectLatest(latest)), [url, joined]);
  useEffect(() => shared.hold(), [shared]);
  return createElement(Context.Provider, { value: shared }, children);
}

/** @throws outside of a RowcastProvider */
export function useRowcast<Map extends object = Record<string, unknown>>(
  handlers: RowcastHandlers<Map> = {},
): RowcastState<Map> {
  const shared = useContext(Context);
  if (!shared) throw new Error('useRowcast: there is no <RowcastProvider> above this component');
  const latest = useLatest(handlers);
  useEffect(() => {
    const stopMessages = shared.messages.add((message) => latest.current.onMessage?.(message as Message<Map>));
    const stopReadies = shared.readies.add((ready) => latest.current.onReady?.(ready));
    return () => {
      stopMessages();
      stopReadies();
    };
  }, [shared, latest]);
  return useSyncExternalStore(shared.subscribe, shared.state, () => NOTHING_YET) as RowcastState<Map>;
}

const NOTHING_YET: RowcastState = {
  status: 'connecting',
  isConnected: false,
  lastMessage: null,
  lastUpdate: null,
  recovered: null,
};

class SharedFeed {
  readonly messages = new Listeners<[Message]>();
  readonly readies = new Listeners<[Ready]>();
  readonly #connect: () => Feed;
  readonly #changes = new Listeners<[]>();
  #state = NOTHING_YET;
  #feed: Feed | undefined;
  #holders = 0;

  constructor(connect: () => Feed) {
    this.#connect = connect;
  }

  readonly state = (): RowcastState => this.#state;
  readonly subscribe = (changed: () => void): (() => void) => this.#changes.add(changed);

  /** @returns lets it go */
  hold(): () => void {
    this.#holders++;
    this.#feed ??= this.#open();
    return () => {
      this.#holders--;
      setTimeout(() => {
        if (this.#holders > 0) return;
        this.#feed?.close();
        this.#feed = undefined;
      });
    };
  }

  #open(): Feed {
    const feed = this.#connect();
    feed.onStatus((status) => this.#change({ status, isConnected: status === 'live' || status === 'replaying' }));
    feed.onReady((ready) => {
      this.#change({ recovered: ready.recovered });
      this.readies.call(ready);
    });
    feed.onMessage((lastMessage) => {
      this.#change({ lastMessage, lastUpdate: Date.now() });
      this.messages.call(lastMessage);
    });
    return feed;
  }

  #change(change: Partial<RowcastState>): void {
    this.#state = { ...this.#state, ...change };
    this.#changes.call();
  }
}

/** Callbacks are looked up when they are called: a component makes new ones each time it is rendered. */
function connectLatest(latest: { readonly current: ConnectOptions }): Feed {
  const { getToken, fetchRow } = latest.current;
  return connect({
    ...latest.current,
    ...(getToken && { getToken: (attempt) => latest.current.getToken?.(attempt) ?? null }),
    ...(fetchRow && { fetchRow: async (...args) => latest.current.fetchRow?.(...args) }),
  });
}

function useLatest<Value>(value: Value): { readonly current: Value } {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
