'use client';

/**
 * React: one feed for all components below a `<RowcastProvider>`. `useRowcast` hears its messages,
 * `useRows` shows a table, `usePresence` who is in a room.
 */
export {
  type RowcastHandlers,
  RowcastProvider,
  type RowcastProviderProps,
  type RowcastState,
  useRowcast,
} from './provider.ts';
export { usePresence } from './use-presence.ts';
export { type RowsState, type UseRowsOptions, useRows } from './use-rows.ts';
