/** The result of one check. */
export interface Finding {
  /** The part of the system that is checked. */
  readonly group: 'settings' | 'database' | 'capture' | 'relay' | 'aws' | 'clocks' | 'probe';
  readonly name: string;
  /** `skipped`: it could not be looked at, because of another finding. */
  readonly verdict: 'ok' | 'warning' | 'problem' | 'skipped';
  readonly detail: string;
  /** Advice, for a warning or a problem. */
  readonly fix?: string;
}

export type Findings = AsyncGenerator<Finding, void>;

/** Makes the findings of one group. */
export function findingsOf(group: Finding['group']) {
  const finding =
    (verdict: Finding['verdict']) =>
    (name: string, detail: string, fix?: string): Finding => ({
      group,
      name,
      verdict,
      detail,
      ...(fix ? { fix } : {}),
    });
  return {
    ok: finding('ok'),
    warning: finding('warning'),
    problem: finding('problem'),
    skipped: finding('skipped'),
  };
}
