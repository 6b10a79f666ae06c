'use client';

/**
 * The feed belongs to the provider's element: it connects when that is mounted, and closes a moment
 * after it is gone. The moment is for StrictMode, which unmounts and mounts everything once more:
 * the same socket goes on. Components only listen.
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
} from 'react';
import {
  type ConnectOptions,
  connect,
  type Feed,
  type FeedError,
  type Message,
  type PresenceState,
  type Ready,
  type Status,
} from '../client/connect.ts';
import { Listeners } from '../client/listeners.ts';
import type { ListFeed } from '../list/live-list.ts';
import { type Store, useSelected } from './use-selected.ts';

export interface RowcastState<Map extends object = Record<string, unknown>> {
  readonly status: Status;
  /** `live` or `replaying`. */
  readonly isConnected: boolean;
  /** Several may come between two renderings: to see each, pass `onMessage`. */
  readonly lastMessage: Message<Map> | null;
  /** When the last message came, epoch ms. */
  readonly lastUpdate: number | null;
  /** Whether nothing was missed before the last READY; null before the first. */
  readonly recovered: boolean | null;
  /** Why it is not live, where something failed. */
  readonly error: FeedError | null;
  /** A new connection with a new token, now. */
  readonly reconnect: () => void;
}

export interface RowcastHandlers<Map extends object = Record<string, unknown>> {
  /** Each message, in order. */
  readonly onMessage?: ((message: Message<Map>) => void) | undefined;
  /**
   * Fetch what is shown when it is the `first` for this component, or not `recovered`. Called at
   * once where the feed is live already.
   */
  readonly onReady?: ((ready: Ready) => void) | undefined;
}

/**
 * Options as for `connect`. Another url or another `key` make another feed; other rooms are joined
 * and left on the open socket, and changed callbacks taken up as they are.
 */
export type RowcastProviderProps<Map extends object = Record<string, unknown>> =
  ConnectOptions<Map> & {
    readonly children?: ReactNode;
  };

const Context = createContext<SharedFeed | null>(null);

export function RowcastProvider<Map extends object = Record<string, unknown>>({
  children,
  ...options
}: RowcastProviderProps<Map>): ReactNode {
  const latest = useLatest(options as unknown as ConnectOptions);
  const { url, rooms = [] } = options;
  const joined = rooms.join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a feed is made for a url
  const shared = useMemo(
    () => new SharedFeed((cursor) => connectLatest(latest, cursor), options.cursor ?? undefined),
    [url],
  );
  useEffect(() => shared.hold(), [shared]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another array of the same is no change
  useEffect(() => shared.setRooms(rooms), [shared, joined]);
  return createElement(Context.Provider, { value: shared }, children);
}

/**
 * @param select what of the state the component shows: it is rendered when that changes, and not
 * for each message
 * @throws outside of a RowcastProvider
 */
export function useRowcast<
  Map extends object = Record<string, unknown>,
  Selected = RowcastState<Map>,
>(
  handlers: RowcastHandlers<Map> = {},
  select: (state: RowcastState<Map>) => Selected = (state) => state as Selected,
): Selected {
  const shared = useSharedFeed('useRowcast');
  const latest = useLatest(handlers);
  useEffect(() => {
    let first = true;
    const ready = (each: Ready) => {
      latest.current.onReady?.({ ...each, first });
      first = false;
    };
    const stopMessages = shared.messages.add((message) =>
      latest.current.onMessage?.(message as Message<Map>),
    );
    const stopReadies = shared.readies.add(ready);
    if (shared.ready && shared.state().status === 'live') ready(shared.ready);
    return () => {
      stopMessages();
      stopReadies();
    };
  }, [shared, latest]);
  return useSelected(shared as unknown as Store<RowcastState<Map>>, select);
}

/** @throws in the name of a hook that is used outside of a RowcastProvider */
export function useSharedFeed(hook: string): SharedFeed {
  const shared = useContext(Context);
  if (!shared) throw new Error(`${hook}: there is no <RowcastProvider> above this component`);
  return shared;
}

const NOTHING_YET: RowcastState = {
  status: 'connecting',
  isConnected: false,
  lastMessage: null,
  lastUpdate: null,
  recovered: null,
  error: null,
  reconnect: () => undefined,
};

const NO_TRANSACTIONS: ReadonlySet<string> = new Set();

/** The provider's feed, before it is made, while it is, and after another has taken its place. */
class SharedFeed implements ListFeed, Store<RowcastState> {
  readonly messages = new Listeners<[Message]>();
  readonly readies = new Listeners<[Ready]>();
  /** The last. */
  ready: Ready | undefined;
  readonly #connect: (cursor: string | undefined) => Feed;
  /** Where the next feed goes on from. */
  #from: string | undefined;
  readonly #changes = new Listeners<[]>();
  readonly #presences = new Set<PresenceListener>();
  #state: RowcastState = { ...NOTHING_YET, reconnect: () => this.#feed?.reconnect() };
  #feed: Feed | undefined;
  /** The ones that it has or was asked for, by comma. */
  #rooms: string | undefined;
  #holders = 0;

  /** @param from the cursor that it will go on from: components ask before it is opened */
  constructor(connect: (cursor: string | undefined) => Feed, from: string | undefined) {
    this.#connect = connect;
    this.#from = from;
  }

  readonly state = (): RowcastState => this.#state;
  readonly initial = (): RowcastState => NOTHING_YET;
  readonly subscribe = (changed: () => void): (() => void) => this.#changes.add(changed);

  get status(): Status {
    return this.#state.status;
  }

  get cursor(): string | undefined {
    return this.#feed ? this.#feed.cursor : this.#from;
  }

  get delivered(): ReadonlySet<string> {
    return this.#feed?.delivered ?? NO_TRANSACTIONS;
  }

  onMessage(listener: (message: Message) => void): () => void {
    return this.messages.add(listener);
  }

  onReady(listener: (ready: Ready) => void): () => void {
    return this.readies.add(listener);
  }

  onStatus(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  /** Who is in a room, by the feed that there is. */
  presence(room: string): PresenceState | undefined {
    return this.#feed?.presence(room).state;
  }

  /** @returns stops it */
  onPresence(room: string, changed: () => void): () => void {
    const stop = this.#feed?.presence(room).subscribe(changed);
    const listener = { room, changed, stop };
    this.#presences.add(listener);
    return () => {
      listener.stop?.();
      this.#presences.delete(listener);
    };
  }

  /** @returns lets it go */
  hold(): () => void {
    this.#feed ??= this.#open();
    this.#holders++;
    return () => {
      this.#holders--;
      setTimeout(() => {
        if (this.#holders > 0) return;
        this.#from = this.cursor;
        this.#feed?.close();
        this.#feed = undefined;
      });
    };
  }

  /** A feed that is opened now has them already. */
  setRooms(rooms: readonly string[]): void {
    const list = rooms.join();
    if (this.#rooms !== undefined && this.#rooms !== list)
      // Rejects when the feed is closed: another has the rooms then.
      this.#feed?.setRooms(rooms).catch(() => undefined);
    this.#rooms = list;
  }

  #open(): Feed {
    const feed = this.#connect(this.#from);
    for (const each of this.#presences)
      each.stop = feed.presence(each.room).subscribe(each.changed);
    const show = (status: Status, error: FeedError | null) =>
      this.#change({ status, error, isConnected: status === 'live' || status === 'replaying' });
    show(feed.status, null);
    feed.onStatus((status, error) => show(status, error ?? null));
    feed.onReady((ready) => {
      this.ready = ready;
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

interface PresenceListener {
  readonly room: string;
  readonly changed: () => void;
  stop: (() => void) | undefined;
}

/**
 * Callbacks are looked up when they are called: a component makes new ones each time it is
 * rendered, or has them later.
 */
function connectLatest(
  latest: { readonly current: ConnectOptions },
  cursor: string | undefined,
): Feed {
  return connect({
    ...latest.current,
    cursor,
    getToken: (attempt) => latest.current.getToken?.(attempt),
    fetchRow: async (...args) => latest.current.fetchRow?.(...args),
  });
}

/** A value as it was rendered last. */
export function useLatest<Value>(value: Value): { readonly current: Value } {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
