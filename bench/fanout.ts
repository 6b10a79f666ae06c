/**
 * How fast, and at what CPU, one frame reaches 10,000 connections: all of our fan-out, lanes and
 * signatures included, against the SDK's command and against unsigned posts through undici, which
 * is what the wire costs. Each contender is a process of its own (fanout-contender.ts): none is
 * measured on another's heap, or with code that another has made slow.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Measured } from './fanout-contender.ts';
import { median, type Outcome, ratio, type Size } from './outcome.ts';
import { SinkProcess } from './sink-process.ts';

export async function fanout(size: Size): Promise<Outcome> {
  const sink = await SinkProcess.start();
  const frames = {
    ours: size.of(10, 2),
    sdkDefault: 1,
    sdkTuned: 1,
    ceiling: size.of(10, 2),
    dispatch: size.of(10, 2),
    dispatchWithHeaders: size.of(10, 2),
  };
  const contenders = Object.entries(frames).map(([name, each]) => ({
    name,
    frames: each,
    process: fork(
      new URL('fanout-contender.ts', import.meta.url),
      [name, sink.url, String(size.of(10_000, 1000))],
      {
        execArgv: ['--import', 'tsx'],
        env: { ...process.env, NODE_NO_WARNINGS: '1' },
      },
    ),
    measured: [] as Measured[],
  }));
  for (const contender of contenders) await once(contender.process, 'message');
  const rounds = size.of(6, 2);
  size.begin(rounds * contenders.length);
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      const measured = size.done(await broadcast(contender.process, contender.frames));
      // The first round warms up.
      if (round > 0) contender.measured.push(measured);
    }
  }
  for (const contender of contenders) contender.process.disconnect();
  sink.stop();

  const rate = (name: string) =>
    median(
      contenders
        .find((contender) => contender.name === name)
        ?.measured.map((each) => each.postsPerSecond) ?? [],
    );
  return {
    rows: contenders.map(({ name, measured }) => ({
      name,
      'posts/s': Math.round(rate(name)),
      'CPU µs/post': Number(median(measured.map((each) => each.cpuMicrosPerPost)).toFixed(1)),
    })),
    ratios: Object.fromEntries(
      ['sdkDefault', 'sdkTuned', 'ceiling', 'dispatch', 'dispatchWithHeaders'].map((name) => [
        name,
        ratio(rate('ours'), rate(name)),
      ]),
    ),
    targets: { sdkDefault: { least: 7 }, ceiling: { least: 0.85 } },
  };
}

async function broadcast(contender: ChildProcess, frames: number): Promise<Measured> {
  contender.send(frames);
  return (await once(contender, 'message'))[0] as Measured;
}
