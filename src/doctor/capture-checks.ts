import type { InstalledLogStatus } from '../log/log-status.ts';
import { MAX_ROOMS_BY_TABLE } from '../log/memberships.ts';
import type { Session } from '../postgres/session.ts';
import { type Findings, findingsOf } from './finding.ts';

const { ok, warning, problem } = findingsOf('capture');

/** Whether what is written gets into the log, and may leave it. */
export async function* captureFindings(
  session: Session,
  { cursor, watched, dropped }: InstalledLogStatus,
): Findings {
  if (!cursor)
    yield problem(
      'installation',
      'rowcast.installation or rowcast.cursor is empty: the schema was restored without its data',
      'take the migrations down and apply them again',
    );
  else if (!cursor.ours)
    yield problem(
      'installation',
      'this database is a copy of the one Rowcast was installed in; nothing is delivered from it',
      'if it has clients of its own: select rowcast.adopt()',
    );
  else if (cursor.void)
    yield problem(
      'installation',
      'the cursor names transactions that this database never had: it was restored to an earlier state',
      'the relay starts over by itself, and clients fetch again; start one',
    );
  else
    yield ok(
      'installation',
      'this is the database that Rowcast was installed in, and its cursor holds',
    );
  if (watched.length === 0)
    yield warning('watched tables', 'none', "select rowcast.watch('your_table')");
  for (const { target, operations, audience, problem: sick, warning: wide } of watched) {
    if (sick) yield problem(target, sick, fixOf(sick, target));
    else if (wide) yield warning(target, wide);
    else
      yield ok(
        target,
        `${operations.join(', ')} → ${audience.join(', ')}; its triggers are there and enabled`,
      );
  }
  yield* membershipFindings(session);
  for (const entity of dropped)
    yield warning(
      entity,
      'its table was dropped',
      'if it was made again, call rowcast.watch() for it; else select rowcast.forget_dropped()',
    );
  const roles = await session.query<{ name: string }>(REPLICA_ROLES);
  if (roles.length > 0)
    yield ok(
      'replicas',
      `${roles.map(({ name }) => name).join(', ')}: writes with session_replication_role=replica; Rowcast's triggers fire there too`,
    );
}

/** Whether tables say who is in which room. Counts all members: for doctor alone. */
async function* membershipFindings(session: Session): Findings {
  for (const { target, room, problem: sick } of await session.query<RoomSource>(ROOM_SOURCES)) {
    const name = `rooms from ${target}`;
    if (sick) yield problem(name, sick, 'do as it says: that takes the table anew');
    else yield ok(name, `its users are in ${room}, as of each commit`);
  }
  for (const { userId, rooms } of await session.query<CrowdedUser>(CROWDED, [MAX_ROOMS_BY_TABLE]))
    yield warning(
      `rooms of ${userId}`,
      `${rooms} by tables, of which the latest are left out`,
      `a user may be in ${MAX_ROOMS_BY_TABLE}: let the many be one room`,
    );
}

interface RoomSource {
  readonly target: string;
  readonly room: string;
  /** Null where all is well. */
  readonly problem: string | null;
}

interface CrowdedUser {
  readonly userId: string;
  readonly rooms: number;
}

/** Never watch() alone: without its arguments it takes its defaults, and addresses everybody. */
function fixOf(sick: string, target: string): string {
  if (sick.includes('is another table now'))
    return 'call what it says: the watch goes over to the table that has the name now; let clients fetch again';
  if (sick.startsWith('column '))
    return `select entity, audience, columns, operations, include_old from rowcast.watched where target = '${target.replaceAll("'", "''")}'::regclass, and call rowcast.watch() with these and the new name`;
  return `select rowcast.rewatch('${target.replaceAll("'", "''")}'), as the owner of the table or a superuser; rows written meanwhile are not delivered later: let clients fetch again`;
}

const REPLICA_ROLES = `
  select coalesce(r.rolname, 'all roles') || coalesce(' in ' || d.datname, '') as name
  from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase
  where 'session_replication_role=replica' = any (s.setconfig)`;

const ROOM_SOURCES = 'select target::text, room, problem from rowcast.room_sources order by 1';

/** $1 rooms that are not too many. */
const CROWDED = `
  select user_id as "userId", count(*)::int as rooms from rowcast.member
  group by user_id having count(*) > $1 order by 2 desc limit 5`;
