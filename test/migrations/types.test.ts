import { expect, onTestFinished, test } from 'vitest';
import { TestDatabase } from '../support/postgres/database.ts';

/** SQL of values that are easily got wrong, for each built-in type. */
const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  aclitem: [`'postgres=r/postgres'`],
  bit: [`b'1'`],
  bool: ['true', 'false'],
  box: [`'(1.5,2),(0,0)'`],
  bpchar: [`'pad  '`],
  bytea: [`'\\x00ff41'`, `''`],
  char: [`'c'`],
  cid: [`'7'`],
  cidr: [`'10.0.0.0/8'`],
  circle: [`'<(1,2),3>'`],
  date: [`'2026-02-28'`, `'infinity'`, `'0044-03-15 BC'`],
  datemultirange: [`'{[2026-01-01,2026-02-01),[2026-03-01,)}'`],
  daterange: [`'[2026-01-01,2026-02-01)'`, `'empty'`],
  float4: ['0.1', `'NaN'`, `'-Infinity'`],
  float8: ['0.1', '1e300', `'Infinity'`, '0.1::float8 + 0.2'],
  inet: [`'::1'`, `'10.1.2.3/8'`],
  int2: ['-32768'],
  int4: ['2147483647'],
  int4multirange: [`'{[1,3)}'`],
  int4range: [`'(,5)'`],
  int8: ['9007199254740993', '-9223372036854775808'],
  int8multirange: [`'{}'`],
  int8range: [`'[1,9007199254740993)'`],
  interval: [`'1 year 2 mons -3 days 04:05:06.789'`, `'0'`],
  json: [`'{"b":1.0, "a":"\\u0000", "a":[ 1 ]}'`, `'null'`],
  jsonb: [`'{"b":1.00,"a":9007199254740993}'`],
  jsonpath: [`'$.a[*] ? (@ > 1)'`],
  line: [`'{1,-1,0}'`],
  lseg: [`'[(0,0),(1,1)]'`],
  macaddr: [`'08:00:2b:01:02:03'`],
  macaddr8: [`'08:00:2b:01:02:03:04:05'`],
  money: [`'-1234.50'`],
  name: [`'a "name"'`],
  numeric: ['12345678901234567890.1230', `'NaN'`, `'Infinity'`, '-0.00'],
  nummultirange: [`'{[1.10,2)}'`],
  numrange: [`'[1.10,2)'`],
  oid: [`'4294967295'`],
  path: [`'[(0,0),(1,1),(2,0)]'`],
  pg_lsn: [`'16/B374D848'`],
  pg_snapshot: [`'10:20:10,14,15'`],
  point: [`'(1,2.5)'`],
  polygon: [`'((0,0),(1,1),(2,0))'`],
  refcursor: [`'my cursor'`],
  regclass: [`'messages'`, `'pg_class'`],
  regcollation: [`'"C"'`],
  regconfig: [`'english'`],
  regdictionary: [`'simple'`],
  regnamespace: [`'public'`],
  regoper: [`'pg_catalog.|/'`],
  regoperator: [`'+(int4,int4)'`],
  regproc: [`'rowcast.watch'`],
  regprocedure: [`'abs(int4)'`],
  regrole: [`'postgres'`],
  regtype: [`'int4'`],
  text: [`'Zürich 🚀 "quoted" \\ back' || E'\\u0001\\t\\n\\u2028'`, `''`, `'</script>'`],
  tid: [`'(1,2)'`],
  time: [`'04:05:06.789'`],
  timestamp: [`'2026-02-28 04:05:06.789'`, `'infinity'`],
  timestamptz: [`'2026-02-28 04:05:06.789+05:30'`, `'-infinity'`, `'0044-03-15 12:00 BC'`],
  timetz: [`'04:05:06+05:30'`],
  tsmultirange: [`'{[2026-01-01 10:00,2026-01-01 11:00)}'`],
  tsquery: [`'fat & (rat | cat)'`],
  tsrange: [`'[2026-01-01 10:00,2026-01-01 11:00)'`],
  tstzmultirange: [`'{[2026-01-01 10:00+09,2026-01-01 11:00+09)}'`],
  tstzrange: [`'[2026-01-01 10:00+09,2026-01-01 11:00+09)'`],
  tsvector: [`'a:1 fat:2,4 cat:3'`],
  txid_snapshot: [`'10:20:10,14,15'`],
  uuid: [`'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'`],
  varbit: [`b'101'`],
  varchar: [`'v'`],
  xid: [`'7'`],
  xid8: [`'9007199254740993'`],
  xml: [`'<a b="c">d</a>'`],
};

/** Types of the catalogs' own: no value of them can be entered. */
const INTERNAL =
  /^(gtsvector|pg_brin_bloom_summary|pg_brin_minmax_multi_summary|pg_dependencies|pg_mcv_list|pg_ndistinct|pg_node_tree)$/;

const OURS = `set search_path = pg_catalog; set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'iso_8601';
  set bytea_output = 'hex'; set extra_float_digits = 1; set lc_monetary = 'C'`;
const ODD = `set timezone = 'Asia/Kathmandu'; set datestyle = 'German, DMY'; set intervalstyle = 'sql_standard'; set bytea_output = 'escape';
  set extra_float_digits = -3; set search_path = public, pg_catalog`;

test('each built-in type, array, enum, domain and composite arrives as Postgres prints it, whatever the writer has set', async () => {
  const database = await TestDatabase.create();
  onTestFinished(() => database.close());
  const types = await database.sql<{ name: string }>(
    `select typname as name from pg_type where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm', 'e') and typcategory <> 'A'`,
  );
  const names = types.map(({ name }) => name).filter((name) => !INTERNAL.test(name));
  expect(names.filter((name) => !SAMPLES[name])).toEqual([]);

  await database.sql(`create type mood as enum ('sad', 'so "so"')`);
  await database.sql('create domain percent as numeric(5,2) check (value between 0 and 100)');
  await database.sql('create type pair as (at timestamptz, moods mood[])');
  const samples: [type: string, value: string][] = names.flatMap((name) =>
    (SAMPLES[name] as string[]).map((value): [string, string] => [`pg_catalog."${name}"`, value]),
  );
  samples.push(
    ['mood', `'so "so"'`],
    ['percent', '12.50'],
    ['pair', `row('2026-01-01 00:00+01', '{sad}')`],
  );
  samples.push(
    ['pair[]', `array[row('2026-01-01 00:00+01', '{sad}')::pair]`],
    ['int[]', `'[0:1][1:2]={{1,2},{3,null}}'`],
  );
  const columns = samples.map(
    ([type], n) => `c${n} ${type}${type.endsWith(']') ? '' : `, a${n} ${type}[]`}`,
  );
  await database.sql(
    `create table everything (id int primary key, ${columns.join(', ')}, doubled int generated always as (id * 2) stored)`,
  );
  await database.sql(`select rowcast.watch('everything')`);

  const writer = await database.client();
  await writer.query(ODD);
  const targets = samples.flatMap(([type], n) =>
    type.endsWith(']') ? [`c${n}`] : [`c${n}`, `a${n}`],
  );
  const values = samples.flatMap(([type, value]) =>
    type.endsWith(']')
      ? [`${value}::${type}`]
      : [`(${value})::${type}`, `array[(${value})::${type}, null]`],
  );
  await writer.query(
    `insert into everything (id, ${targets.join(', ')}) values (1, ${values.join(', ')})`,
  );
  await writer.query('delete from everything where id = 1');
  await writer.query(
    `insert into everything (id, ${targets.join(', ')}) values (1, ${values.join(', ')})`,
  );
  await writer.query(OURS);
  const printed = (
    await writer.query('select row_to_json(e)::text as row from public.everything e')
  ).rows[0].row;
  writer.release(true);

  const events = await database.sql<{ data: string }>(
    'select data::text from rowcast.event order by id',
  );
  expect(events).toHaveLength(3);
  for (const { data } of events) expect(data).toBe(printed);
  expect(printed).toContain('9007199254740993');
  expect(printed).toContain('12345678901234567890.1230');
});
