import type pg from 'pg';
import { Publisher } from 'rowcast/publisher';

/** As JSON by Postgres, in a list and in a message. */
export interface Order {
  readonly id: number;
  readonly customer_id: number;
  readonly item: string;
  readonly status: string;
}

/** A list, and the snapshot that it is of. */
export interface OrderList {
  readonly rows: Order[];
  readonly cursor: string;
}

/** Messages of the application's own. */
export interface OwnMessages {
  confirmed: { item: string };
}

const publisher = new Publisher<OwnMessages>();

/** One statement: the rows and the snapshot are of the same moment. */
export async function listOrders(database: pg.Pool, customerId: number): Promise<OrderList> {
  const { rows } = await database.query<OrderList>(
    `select coalesce(json_agg(o order by o.id), '[]') as rows, rowcast.snapshot() as cursor
     from orders o where o.customer_id = $1`,
    [customerId],
  );
  return rows[0] as OrderList;
}

/**
 * The order and the message about it leave together, when the transaction commits.
 * @returns the transaction, for whoever waits until its rows are on his screen
 */
export async function placeOrder(
  database: pg.Pool,
  customerId: number,
  item: string,
): Promise<{ id: string; tx: string }> {
  const client = await database.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ id: string; tx: string }>(
      `insert into orders (customer_id, item) values ($1, $2)
       returning id, pg_current_xact_id()::text as tx`,
      [customerId, item],
    );
    await publisher.through(client).sendToUser(customerId, 'confirmed', { item });
    await client.query('commit');
    return rows[0] as { id: string; tx: string };
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}
