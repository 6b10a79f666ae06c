const KEPT = 20;

/** As pino numbers them: warn is 40. */
const PROBLEM = /"level":[456]0/;

/** The last warnings and errors that were logged, for `rowcast status`. */
export class RecentProblems {
  readonly #problems: Problem[] = [];

  /** The newest last. */
  get all(): readonly Problem[] {
    return this.#problems;
  }

  /** @param line as it is logged; returned as it is */
  readonly see = (line: string): string => {
    if (PROBLEM.test(line)) {
      const {
        time,
        event,
        msg,
        outcome,
        error,
        table,
        problem: sick,
        ...rest
      } = JSON.parse(line) as LogLine;
      const { status, reason } = outcome ?? rest;
      const why = [table, status, reason ?? error ?? sick].filter(Boolean).join(' ');
      const problem = {
        at: new Date(time ?? Date.now()).toISOString(),
        event: event ?? 'unknown',
        message: why ? `${msg} (${why})` : (msg ?? ''),
      };
      const last = this.#problems.at(-1);
      // The same again takes no room from others.
      if (last?.event === problem.event && last.message === problem.message) this.#problems.pop();
      this.#problems.push(problem);
      if (this.#problems.length > KEPT) this.#problems.shift();
    }
    return line;
  };
}

interface LogLine {
  readonly time?: string;
  readonly event?: string;
  readonly msg?: string;
  readonly error?: string;
  /** A table that is watched and not captured, and why. */
  readonly table?: string;
  readonly problem?: string;
  readonly status?: number;
  readonly reason?: string;
  readonly outcome?: { readonly status?: number; readonly reason?: string };
}

export interface Problem {
  /** ISO 8601. */
  readonly at: string;
  readonly event: string;
  readonly message: string;
}
