/** The `stats` object of a query's answer, in Prometheus' names; times in seconds. */
import type { QueryResult, StepCounts } from '../../query/promql/result.ts';

export function statsJson(result: QueryResult): string {
  const { samplesRead, peakSamples, perStep, parseMs, evalMs } = result.stats;
  const evalS = evalMs / 1000;
  const parseS = parseMs / 1000;
  return JSON.stringify({
    timings: {
      evalTotalTime: evalS,
      resultSortTime: 0,
      queryPreparationTime: parseS,
      innerEvalTime: evalS,
      execQueueTime: 0,
      execTotalTime: evalS + parseS,
    },
    samples: {
      ...(perStep === undefined ? {} : { totalQueryableSamplesPerStep: stepPairs(perStep) }),
      // By step it is known how often each was looked at; else each counts once.
      totalQueryableSamples: perStep === undefined ? samplesRead : perStep.samples.reduce((sum, n) => sum + n, 0),
      peakSamples,
    },
  });
}

function stepPairs({ startMs, stepMs, samples }: StepCounts): [number, number][] {
  return Array.from(samples, (n, i) => [(startMs + i * stepMs) / 1000, n]);
}
