import { useRef, useSyncExternalStore } from 'react';

/** A state that is another object after each change. */
export interface Store<State> {
  readonly state: () => State;
  /** While a server renders, and until a browser has taken over. */
  readonly initial: () => State;
  readonly subscribe: (changed: () => void) => () => void;
}

/** Renders when what is selected is another value; `select` may make a new one of each state. */
export function useSelected<State, Selected>(
  store: Store<State>,
  select: (state: State) => Selected,
): Selected {
  const last = useRef<{ state: State; select: unknown; selected: Selected }>(undefined);
  const selectedOf = (state: State): Selected => {
    if (last.current?.state !== state || last.current.select !== select)
      last.current = { state, select, selected: select(state) };
    return last.current.selected;
  };
  return useSyncExternalStore(
    store.subscribe,
    () => selectedOf(store.state()),
    () => selectedOf(store.initial()),
  );
}
