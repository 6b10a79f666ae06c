import { useCallback, useSyncExternalStore } from 'react';
import type { PresenceState } from '../client/connect.ts';
import { useSharedFeed } from './provider.ts';

const NOBODY: PresenceState = { users: new Map(), count: 0 };

/**
 * Who is in a room that the provider's feed is in, where the server watches it. Rendered again when
 * that changes.
 * @throws outside of a RowcastProvider
 */
export function usePresence<Info = unknown>(room: string): PresenceState<Info> {
  const shared = useSharedFeed('usePresence');
  const subscribe = useCallback(
    (changed: () => void) => shared.onPresence(room, changed),
    [shared, room],
  );
  const state = () => shared.presence(room) ?? NOBODY;
  return useSyncExternalStore(subscribe, state, () => NOBODY) as PresenceState<Info>;
}
