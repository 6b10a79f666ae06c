import type { ReactNode } from 'react';
import { usePresence } from '../../react/react.ts';

/** Rooms of this page, joined and left on the open socket, and who is in each. */
export function Rooms({
  rooms,
  change,
}: {
  rooms: readonly string[];
  change: (rooms: readonly string[]) => void;
}): ReactNode {
  const join = (room: string) => room !== '' && change([...new Set([...rooms, room])]);
  return (
    <section className="panel" aria-labelledby="rooms">
      <h2 id="rooms">
        Rooms <span className="count">{rooms.length}</span>
      </h2>
      <form
        aria-label="Join a room"
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          join(String(new FormData(event.currentTarget).get('room')).trim());
          event.currentTarget.reset();
        }}
      >
        <label>
          <span>Room</span>
          <input
            name="room"
            placeholder="team-7"
            autoComplete="off"
            pattern="[^,]+"
            title="the name of a room has no comma"
            required
          />
        </label>
        <button type="submit" className="primary">
          Join
        </button>
      </form>
      <ul className="rows">
        {rooms.map((room) => (
          <Room
            key={room}
            room={room}
            leave={() => change(rooms.filter((each) => each !== room))}
          />
        ))}
      </ul>
    </section>
  );
}

function Room({ room, leave }: { room: string; leave: () => void }): ReactNode {
  const { users, count } = usePresence(room);
  return (
    <li data-room={room}>
      <div className="row-text">
        <strong>{room}</strong>{' '}
        {count === 0 ? (
          <code className="hint">select rowcast.watch_presence('room:*')</code>
        ) : (
          <span className="count">{count} here</span>
        )}
        <div className="present">
          {[...users].map(([userId, { n }]) => (
            <span key={userId} className="badge">
              {userId}
              {n > 1 && ` ×${n}`}
            </span>
          ))}
        </div>
      </div>
      <button type="button" aria-label={`Leave ${room}`} onClick={leave}>
        Leave
      </button>
    </li>
  );
}
