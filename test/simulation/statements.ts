import { Snapshot } from '../../src/log/snapshot.ts';
import type { Backend, Row, SimulatedPostgres } from './postgres.ts';

type Values = readonly unknown[];
type Answer = Record<string, unknown>[];
type Statement = (postgres: SimulatedPostgres, values: Values, backend: Backend) => Answer;

const CURSOR_KEY = '00'.repeat(32);

const UNIT_MS: Readonly<Record<string, number>> = { second: 1000, minute: 60_000, hour: 3_600_000 };

/** `30 seconds` in milliseconds. */
function intervalMs(text: unknown): number {
  const [count, unit = ''] = String(text).replace(/s$/, '').split(' ');
  return Number(count) * (UNIT_MS[unit] as number);
}

const byId = (a: Row, b: Row) => (a.id < b.id ? -1 : 1);
const byXid = (a: Row, b: Row) => (a.xid === b.xid ? byId(a, b) : a.xid < b.xid ? -1 : 1);

/** A row of the log as the relay's statements return it. */
function asEvent(row: Row, found: number): Record<string, unknown> {
  return {
    id: String(row.id),
    xid: String(row.xid),
    type: row.isDisconnect ? 'DISCONNECT' : row.isMembers ? 'MEMBERS' : 'CHANGE',
    audience: row.audience,
    data: row.isDisconnect ? null : `{"key":"${row.key}"}`,
    old: null,
    oversize: false,
    key: null,
    timestamp: String(row.occurredMs),
    problem: null,
    found,
  };
}

function readFresh(postgres: SimulatedPostgres, [xip, xmax, limit]: Values): Answer {
  const late = new Set((xip as string[]).map(BigInt));
  const visible = postgres.visible();
  const fresh = visible.filter((row) => row.xid >= BigInt(String(xmax))).sort(byXid);
  const rows = [...visible.filter(({ xid }) => late.has(xid)), ...fresh]
    .slice(0, Number(limit))
    .sort(byId);
  const now = postgres.snapshot().text;
  if (rows.length === 0) return [{ now, found: 0, id: null }];
  return rows.map((row) => ({ now, ...asEvent(row, rows.length) }));
}

function readBounds(postgres: SimulatedPostgres, values: Values): Answer {
  const [xip, fromXid, fromId, untilXmax, limit] = values;
  const late = new Set((xip as string[]).map(BigInt));
  const [xid, id, xmax] = [fromXid, fromId, untilXmax].map((value) => BigInt(String(value))) as [
    bigint,
    bigint,
    bigint,
  ];
  const visible = postgres.visible();
  const fresh = visible
    .filter((row) => (row.xid > xid || (row.xid === xid && row.id > id)) && row.xid < xmax)
    .sort(byXid)
    .slice(0, Number(limit));
  const all = [...visible.filter((row) => late.has(row.xid)), ...fresh].sort(byId);
  const last = fresh.at(-1);
  return [
    {
      first: all[0] ? String(all[0].id) : null,
      last: all.length > 0 ? String(all.at(-1)?.id) : null,
      counted: fresh.length,
      xid: last ? String(last.xid) : null,
      id: last ? String(last.id) : null,
    },
  ];
}

function readPage(postgres: SimulatedPostgres, values: Values): Answer {
  const [afterId, throughId, start, until, limit] = values.map(String) as [
    string,
    string,
    string,
    string,
    string,
  ];
  const terms = values[7] as string[] | null;
  const [from, to] = [Snapshot.parse(start), Snapshot.parse(until)];
  const rows = postgres
    .visible()
    .filter(({ id, xid }) => id > BigInt(afterId) && id <= BigInt(throughId) && to.sees(xid))
    .filter(
      ({ xid, audience }) =>
        !from.sees(xid) && (!terms || audience.some((term) => terms.includes(term))),
    )
    .sort(byId)
    .slice(0, Number(limit));
  return rows.map((row) => asEvent(row, rows.length));
}

function readDisconnected(postgres: SimulatedPostgres, [until, sinceMs]: Values): Answer {
  const { floor } = postgres.installation;
  const seen = Snapshot.parse(String(until));
  return postgres
    .committedRows()
    .filter(({ isDisconnect, occurredMs }) => isDisconnect && occurredMs >= Number(sinceMs))
    .filter(({ xid }) => seen.sees(xid) || xid < floor)
    .map((row) => ({ ...asEvent(row, 1), isGone: row.xid < floor }));
}

function readChangedStays({ memberships }: SimulatedPostgres, values: Values): Answer {
  const [xids, userIds, userId, , name, limit] = values;
  const among = (xid: string | null) => (xids as unknown[]).includes(xid);
  return memberships
    .stays()
    .filter((stay) => among(stay.joined_xid) || among(stay.left_xid))
    .filter((stay) => userIds === null || (userIds as unknown[]).includes(stay.userId))
    .map((stay) => ({ stay, key: `${stay.userId} ${stay.name}` }))
    .filter(({ key }) => key > `${userId} ${name}`)
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .slice(0, Number(limit))
    .map(({ stay }) => stay);
}

function readCursor(postgres: SimulatedPostgres): Answer {
  const { cursor, installation } = postgres;
  return [
    {
      ...cursor,
      commits: String(cursor.commits),
      fence: cursor.installation,
      cursor_key: CURSOR_KEY,
      former_cursor_key: null,
      installation: installation.id,
      floor: String(installation.floor),
      refetch_before: installation.refetchBeforeMs,
      ours: true,
      replaced: false,
      xmax: String(postgres.snapshot().xmax),
    },
  ];
}

function commitCursor(postgres: SimulatedPostgres, values: Values): Answer {
  const [, installation, term, snapshot, until, afterId, throughId, delivered, exceptions] = values;
  const done = postgres.commitCursor(String(installation), String(term), {
    snapshot: String(snapshot),
    until: until as string | null,
    after_id: afterId as string | null,
    through_id: throughId as string | null,
    delivered: String(delivered),
    ...(exceptions === null ? {} : { exceptions: String(exceptions) }),
    served_until: Number(values[9]),
    served_snapshot: String(values[10]),
  });
  return done ? [{}] : [];
}

function tryDoorbell(postgres: SimulatedPostgres, backend: Backend): boolean {
  if (postgres.doorbellIsShared || postgres.strangerHasDoorbell) return false;
  postgres.doorbell ??= backend;
  return postgres.doorbell === backend;
}

function leaveDoorbell(postgres: SimulatedPostgres, backend: Backend): void {
  if (postgres.doorbell === backend) postgres.doorbell = null;
}

/** The statements of the relay, by their names. */
export const STATEMENTS: Readonly<Record<string, Statement>> = {
  read_fresh: readFresh,
  read_bounds: readBounds,
  read_page: readPage,
  read_disconnected: readDisconnected,
  read_stays: ({ memberships }, [userIds]) =>
    memberships.stays().filter(({ userId }) => (userIds as unknown[]).includes(userId)),
  read_membership_commits: ({ memberships }, [start, until]) =>
    memberships
      .commits(Snapshot.parse(String(start)), Snapshot.parse(String(until)))
      .map((xid) => ({ xid: String(xid) })),
  read_changed_stays: readChangedStays,
  read_presence_watch: ({ presence, cursor }) => [
    { rooms: presence.watched, isReported: presence.isKnownBy(String(cursor.term)) },
  ],
  read_online: ({ presence }) => [...presence.online.keys()].map((id) => ({ id })),
  report_online: ({ presence, cursor }, [term, came, gone, isWhole]) => {
    if (String(cursor.term) !== term) return [{ ok: false }];
    presence.report(term, String(came), gone as string[], isWhole as boolean);
    return [{ ok: true }];
  },
  notice_installation: () => [],
  read_cursor: readCursor,
  commit_cursor: commitCursor,
  check_cursor: ({ cursor }, [, installation, term]) =>
    cursor.installation === installation && String(cursor.term) === term
      ? [{ key: CURSOR_KEY }]
      : [],
  lease_take: (postgres, _, backend) => [postgres.takeLease(backend)],
  lease_renew: (postgres, [holder]) => [{ quiet: postgres.renewLease(String(holder)) }],
  lease_release: (postgres, [holder], backend) => {
    if (postgres.lease?.holder === holder) postgres.lease = null;
    leaveDoorbell(postgres, backend);
    postgres.notify('control');
    return [];
  },
  doorbell_holders: () => [],
  doorbell_sleep: (postgres, _, backend) => [{ held: tryDoorbell(postgres, backend) }],
  doorbell_wake: (postgres, _, backend) => {
    leaveDoorbell(postgres, backend);
    return [];
  },
  remove_old: (postgres, [keep, keepUndelivered, batch]) => [
    postgres.removeOld(intervalMs(keep), intervalMs(keepUndelivered), Number(batch)),
  ],
  read_floor: ({ installation }) => [{ floor: String(installation.floor) }],
  log_lag: () => [{ events: 0, seconds: 0, usage: 0, ids: null, log_bytes: 0 }],
};
