/** OpenAPI description of the cardinality explorer's routes. */
import type { OpenApiPart } from './openapi.ts';

const TENANT = {
  name: 'X-Scope-OrgID',
  in: 'header',
  required: false,
  description: 'The tenant; `default` where not given.',
  schema: { type: 'string', maxLength: 150 },
};
const query = (name: string, description: string, schema: unknown) => ({
  name,
  in: 'query',
  required: false,
  description,
  schema,
});
const json = (description: string, schema: unknown) => ({ description, content: { 'application/json': { schema } } });
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const listOf = (properties: Record<string, unknown>) => ({
  type: 'array',
  items: { type: 'object', required: Object.keys(properties), properties },
});
const object = (properties: Record<string, unknown>) => ({
  type: 'object',
  required: Object.keys(properties),
  properties,
});
const text = { type: 'string' };
const count = (description: string) => ({ type: 'integer', description });
const series = count('Active series.');

export const CARDINALITY_OPENAPI: OpenApiPart = {
  paths: {
    '/sightline/api/v1/cardinality': {
      get: {
        operationId: 'getCardinality',
        summary: 'Where active series come from: metrics, labels, values, targets, senders; with growth and advice',
        parameters: [
          TENANT,
          query('metric', 'Only series of this metric.', text),
          query('label', 'Only series that have this label; `values` then lists its values.', text),
          query('limit', 'Rows per list.', { type: 'integer', minimum: 1, maximum: 1000, default: 20 }),
        ],
        responses: {
          '200': json('The view.', ref('Cardinality')),
          '400': json('The tenant or a parameter is invalid.', ref('Error')),
        },
      },
    },
    '/sightline/api/v1/cardinality/tenants': {
      get: {
        operationId: 'listTenantSeries',
        summary: 'Active series and their limit by tenant, largest first',
        responses: {
          '200': json('The tenants.', object({ tenants: listOf({ tenant: text, series, limit: count('0: none.') }) })),
          '403': json('Not an administrator.', ref('Error')),
        },
      },
    },
    '/sightline/api/v1/cardinality/relabel': {
      post: {
        operationId: 'tryRelabelRules',
        summary: 'What metric_relabel_configs would save, computed on the active series',
        parameters: [TENANT],
        requestBody: {
          required: true,
          description: 'A list of rules, or a map with one under `metric_relabel_configs`. 256 KiB at most.',
          content: { 'application/yaml': { schema: text }, 'text/plain': { schema: text } },
        },
        responses: {
          '200': json('What would be saved.', ref('RelabelSavings')),
          '400': json('The rules cannot be used; the message names the lines.', ref('Error')),
        },
      },
    },
  },
  schemas: {
    Cardinality: object({
      tenant: text,
      metric: text,
      label: text,
      series,
      limit: count('limits.active_series of the tenant; 0: none.'),
      growth: object({ yesterday: ref('CardinalityDay'), lastWeek: ref('CardinalityDay') }),
      metrics: listOf({ name: text, series, growth: ref('CardinalityGrowth') }),
      labels: listOf({
        name: text,
        values: count('Different values; exact up to about 1,000.'),
        series,
        growth: ref('CardinalityGrowth'),
      }),
      pairs: listOf({ label: text, value: text, series }),
      values: listOf({ value: text, series }),
      targets: listOf({ job: text, instance: text, series }),
      senders: listOf({
        sender: { type: 'string', description: 'Protocol and User-Agent of pushes; one row for all scrapes.' },
        thisHour: count('Series made since the full hour.'),
        lastDay: count('Series made in the last 24 hours.'),
      }),
      advice: listOf({
        label: text,
        values: count('More than 100.'),
        advice: text,
        rule: { type: 'string', description: 'A relabel rule to try.' },
      }),
    }),
    CardinalityDay: {
      type: ['object', 'null'],
      description: 'The tenant on an earlier day; null where nothing was recorded.',
      required: ['timeMs', 'series'],
      properties: { timeMs: { type: 'number', description: 'Milliseconds since the epoch.' }, series },
    },
    CardinalityGrowth: object({
      sinceYesterday: { type: ['integer', 'null'], description: 'More than then; null: not known.' },
      sinceLastWeek: { type: ['integer', 'null'], description: 'More than then; null: not known.' },
    }),
    RelabelSavings: object({
      tenant: text,
      before: series,
      after: count('Series there would be.'),
      saved: count('The difference.'),
      dropped: count('Series dropped as a whole.'),
      changed: count('Series with other labels than now.'),
      merged: count('Series that become the same as another: their samples collide. Should be 0.'),
      complete: { type: 'boolean', description: 'False: time was over, and the figures are estimates.' },
      looked: count('Series looked at.'),
      metrics: listOf({ name: text, before: series, dropped: count('Of those.'), changed: count('Of those.') }),
    }),
  },
};
