type Change = 'NEW' | 'UPDATE' | 'DELETE' | 'TRUNCATE';

/**
 * Whether a message is of the table of that entity, and not of another or the application's own:
 * `isTable('ORDER', message)` narrows its type.
 */
export function isTable<Type extends { readonly type: string }, Entity extends string>(
  entity: Entity,
  message: Type,
): message is Extract<Type, { readonly type: `${Change}_${Entity}` }> {
  return /^(NEW|UPDATE|DELETE|TRUNCATE)_(.*)/s.exec(message.type)?.[2] === entity;
}
