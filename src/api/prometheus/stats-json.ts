/** The `stats` object of a query's answer, in Prometheus' names; times in seconds. */
import type { QueryResult } from '../../query/promql/result.ts';

export function statsJson(result: QueryResult): string {
  const { samplesRead, peakSamples, parseMs, evalMs } = result.stats;
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
    samples: { totalQueryableSamples: samplesRead, peakSamples },
  });
}
