/** The column `content` of the rows of messages. */
export function contents(messages: readonly { readonly data?: unknown }[]): unknown[] {
  return messages.map(({ data }) => (data as { content?: unknown } | null)?.content);
}

/** `1` to n, as contents. */
export function numbers(n: number): string[] {
  return Array.from({ length: n }, (_, i) => String(i + 1));
}
