import type { ReactNode } from 'react';
import type { Config, Identity } from './api.ts';

/** Who this page is. Another answer is another connection. */
export function ConnectAs({
  auth,
  identity,
  connect,
}: {
  auth: Config['auth'];
  identity: Identity;
  connect: (identity: Identity) => void;
}): ReactNode {
  return (
    <form
      aria-label="Connect as"
      className="connect-as"
      onSubmit={(event) => {
        event.preventDefault();
        const field = new FormData(event.currentTarget);
        const value = (name: keyof Identity) => String(field.get(name) ?? '').trim();
        const names = (name: 'rooms' | 'roles') =>
          value(name)
            .split(',')
            .map((each) => each.trim())
            .filter(Boolean);
        connect({
          userId: value('userId'),
          rooms: names('rooms'),
          roles: names('roles'),
          token: value('token'),
        });
      }}
    >
      <span className="hint">Connect as</span>
      {auth === 'jwks' ? (
        <label className="wide">
          <span>Token</span>
          <input name="token" defaultValue={identity.token} autoComplete="off" required />
        </label>
      ) : (
        <>
          <label>
            <span>User</span>
            <input name="userId" defaultValue={identity.userId} autoComplete="off" required />
          </label>
          <label>
            <span>Roles</span>
            <input
              name="roles"
              defaultValue={identity.roles.join(', ')}
              placeholder="admin"
              autoComplete="off"
            />
          </label>
        </>
      )}
      <label>
        <span>Rooms</span>
        <input
          name="rooms"
          key={identity.rooms.join()}
          defaultValue={identity.rooms.join(', ')}
          placeholder="lobby, office"
          autoComplete="off"
        />
      </label>
      <button type="submit">Connect</button>
    </form>
  );
}
