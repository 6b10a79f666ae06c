import { type FormEvent, type ReactNode, useState } from 'react';

export function OrderForm({ order }: { order: (item: string) => Promise<unknown> }): ReactNode {
  const [error, setError] = useState('');
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const item = String(new FormData(event.currentTarget).get('item'));
    event.currentTarget.reset();
    order(item).then(
      () => setError(''),
      (failure: Error) => setError(failure.message),
    );
  };
  return (
    <form onSubmit={submit}>
      <input name="item" aria-label="Item" required />
      <button type="submit">Order</button>
      {error && <p role="alert">{error}</p>}
    </form>
  );
}
