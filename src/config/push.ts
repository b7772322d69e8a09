/**
 * The section `push` of sightline.yaml: Pushgateway groups, StatsD, Graphite, and how Influx and Datadog are named. The units come from
 * schema.ts, which takes this in.
 */
import { z } from 'zod';
import { DEFAULTS } from './defaults.ts';

export interface PushUnits {
  duration: (min?: number) => z.ZodType<number, string | 0>;
  size: () => z.ZodType<number, string | 0>;
  /** HOST:PORT */
  hostPort: () => z.ZodType<string>;
  tenantName: () => z.ZodType<string>;
  count: (max: number, min?: number) => z.ZodType<number>;
}

/** '' = off. */
const off = () => z.literal('');

export function pushSchema({ duration, size, hostPort, tenantName, count }: PushUnits) {
  const d = DEFAULTS.push;
  const door = {
    tenant: tenantName(),
    max_connections: count(100_000, 1),
    max_lines_per_second: count(100_000_000, 1),
  };
  const ascending = z
    .array(z.number())
    .max(200)
    .refine(list => list.every((n, i) => i === 0 || n > (list[i - 1] as number)), 'must be ascending');
  return z
    .strictObject({
      gateway: z
        .strictObject({
          enabled: z.boolean().default(d.gateway.enabled),
          interval: duration(1000).prefault(d.gateway.interval),
          max_groups: count(1_000_000, 1).default(d.gateway.max_groups),
          max_bytes: size().prefault(d.gateway.max_bytes),
        })
        .prefault({}),
      influx: z
        .strictObject({
          separator: z.string().max(10).default(d.influx.separator),
          db_label: z.string().max(200).default(d.influx.db_label),
        })
        .prefault({}),
      dots: z.enum(['keep', 'underscore']).default(d.dots as 'keep'),
      graphite: z
        .strictObject({
          listen: z.union([off(), hostPort()]).default(d.graphite.listen),
          tcp: z.boolean().default(d.graphite.tcp),
          udp: z.boolean().default(d.graphite.udp),
          tenant: door.tenant.default(d.graphite.tenant),
          max_connections: door.max_connections.default(d.graphite.max_connections),
          max_lines_per_second: door.max_lines_per_second.default(d.graphite.max_lines_per_second),
        })
        .prefault({}),
      statsd: z
        .strictObject({
          listen: z.union([off(), hostPort()]).default(d.statsd.listen),
          tcp: z.boolean().default(d.statsd.tcp),
          udp: z.boolean().default(d.statsd.udp),
          unix: z.string().max(100).default(d.statsd.unix),
          tenant: door.tenant.default(d.statsd.tenant),
          max_connections: door.max_connections.default(d.statsd.max_connections),
          max_lines_per_second: door.max_lines_per_second.default(d.statsd.max_lines_per_second),
          flush_interval: duration(1000).prefault(d.statsd.flush_interval),
          ttl: duration(0).prefault(d.statsd.ttl),
          max_series: count(10_000_000, 1).default(d.statsd.max_series),
          observer: z.enum(['summary', 'histogram']).default(d.statsd.observer as 'summary'),
          quantiles: ascending
            .refine(list => list.every(q => q >= 0 && q <= 1), 'must be between 0 and 1')
            .default([...d.statsd.quantiles]),
          quantile_window: duration(1000).prefault(d.statsd.quantile_window),
          buckets: ascending.default([...d.statsd.buckets]),
          mapping_file: z.string().default(d.statsd.mapping_file),
        })
        .prefault({}),
    })
    .prefault({});
}
