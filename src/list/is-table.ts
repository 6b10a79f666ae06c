type Change = 'NEW' | 'UPDATE' | 'DELETE' | 'TRUNCATE';

/** A feed without a map has messages of any type: there is nothing to narrow. */
type OfTable<
  Type extends { readonly type: string },
  Entity extends string,
> = string extends Type['type'] ? Type : Extract<Type, { readonly type: `${Change}_${Entity}` }>;

/**
 * Whether a message is of the table of that entity, and not of another or the application's own:
 * `isTable('ORDER', message)` narrows its type.
 */
export function isTable<Type extends { readonly type: string }, Entity extends string>(
  entity: Entity,
  message: Type,
): message is OfTable<Type, Entity> {
  return message.type.split(/^(NEW|UPDATE|DELETE|TRUNCATE)_/)[2] === entity;
}
