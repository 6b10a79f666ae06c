import type { Granted } from './feed.ts';
import { Listeners } from './listeners.ts';
import { roomList, roomNames } from './options.ts';
import { Timer } from './timer.ts';

/**
 * The rooms that a client wants, all of them each time: it asks until it hears an answer to this
 * very wish, so that lost messages and answers to an earlier one do no harm.
 */
export class RoomWish {
  /** By comma, as connections ask for them. */
  text: string;
  readonly #answers = new Listeners<[Granted]>();
  readonly #again = new Timer();
  readonly #ask: () => void;
  readonly #askAgainMs: number;

  /** @param ask sends the wish on connections that are open */
  constructor(text: string, ask: () => void, askAgainMs: number) {
    this.text = text;
    this.#ask = ask;
    this.#askAgainMs = askAgainMs;
  }

  get rooms(): string[] {
    return roomNames(this.text);
  }

  /** @throws TypeError that names a room that is none */
  change(rooms: readonly string[]): void {
    this.text = roomList(rooms);
    this.ask();
  }

  ask(): void {
    this.#ask();
    this.#again.set(this.#askAgainMs, () => this.ask());
  }

  onAnswer(listener: (granted: Granted) => void): () => void {
    return this.#answers.add(listener);
  }

  answered({ rooms, refused }: Granted): void {
    this.#again.clear();
    this.#answers.call({ rooms, refused });
  }

  stop(): void {
    this.#again.stop();
  }
}
