/**
 * Contexts: what resource, scope and metric add to every point under them, worked out once and known again by the bytes.
 *
 * Keys are chained: a resource is hashed under the tenant's seed, a scope under its resource's hash, a metric under its scope's; so
 * one lookup with the metric's key tells points of all tenants, resources and scopes apart.
 */
import { sipHash128, type TenantSeed } from '../../lib/identity-hash.ts';
import type { ProtobufReader } from '../../lib/protobuf.ts';
import { compareStrings } from '../../model/labels.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import { MAX_LABELS } from '../label-set.ts';
import { AttributeError, readAttributes, readText } from './attributes.ts';
import { KeyMap } from './key-map.ts';
import { labelName, metricName, type NameKind } from './names.ts';
import type { OtlpSettings } from './settings.ts';

export type MetricKind = 'gauge' | 'sum' | 'histogram' | 'exponential' | 'summary';

export interface ResourceContext {
  key: Uint32Array;
  /** Resource attributes that are labels of every point, unless the point has its own: flat, translated. */
  promoted: readonly string[];
  /** job and instance, which win over attributes: flat. */
  identity: readonly string[];
  /** Labels of target_info; null where the resource gives none. */
  targetInfo: ReadonlyMap<string, string> | null;
  /** Why no point of the resource can be kept, or ''. */
  problem: string;
}

export interface ScopeContext {
  key: Uint32Array;
  resource: ResourceContext;
  /** Flat, translated; empty unless scopes are promoted. */
  labels: readonly string[];
  problem: string;
}

export interface MetricContext {
  key: Uint32Array;
  scope: ScopeContext;
  /** As the sender calls it, for messages. */
  name: string;
  /** Translated; '' where nothing usable is left, and then `problem` says so. */
  promName: string;
  metadata: MetadataEntry;
  /** The cache generation in which the metadata went out last. */
  metadataSentIn: number;
  problem: string;
  /** Of the histogram or summary point before: its bounds or quantiles as bytes, and the key for points that share them. */
  boundsBytes: Uint8Array;
  boundsKey: Uint32Array;
}

/** What a metric's header says. */
export interface MetricHeader {
  kind: MetricKind;
  monotonic: boolean;
  delta: boolean;
}

const MAX_RESOURCES = 20_000;
const MAX_SCOPES = 50_000;
const MAX_METRICS = 200_000;
/** Label names remembered by attribute key. */
const MAX_LABEL_NAMES = 10_000;

const IDENTIFYING = ['service.name', 'service.namespace', 'service.instance.id'];
/** Attributes of a scope that its own fields say already. */
const SCOPE_FIELDS = new Set(['name', 'version', 'schema_url']);

export class Contexts {
  private readonly settings: OtlpSettings;
  private readonly resources = new KeyMap<ResourceContext>(MAX_RESOURCES);
  private readonly scopes = new KeyMap<ScopeContext>(MAX_SCOPES);
  private readonly metrics = new KeyMap<MetricContext>(MAX_METRICS);
  private readonly labelNames = new Map<string, string>();
  private readonly probe = new Uint32Array(4);
  private readonly mixed = new Uint32Array(4);
  private readonly small = new Uint8Array(16);

  constructor(settings: OtlpSettings) {
    this.settings = settings;
  }

  /** [start, end) is a Resource message. */
  resource(r: ProtobufReader, seed: TenantSeed, start: number, end: number): ResourceContext {
    sipHash128(seed, r.bytes, start, end, this.probe, 0);
    let context = this.resources.get(this.probe);
    if (context === undefined) {
      context = this.makeResource(r, start, end);
      this.resources.add(this.probe, 0, context);
    }
    return context;
  }

  /** [start, end) is an InstrumentationScope message, [urlStart, urlEnd) the schema URL beside it. */
  scope(
    r: ProtobufReader,
    resource: ResourceContext,
    start: number,
    end: number,
    urlStart: number,
    urlEnd: number,
  ): ScopeContext {
    sipHash128(resource.key, r.bytes, urlStart, urlEnd, this.mixed, 0);
    sipHash128(this.mixed, r.bytes, start, end, this.probe, 0);
    let context = this.scopes.get(this.probe);
    if (context === undefined) {
      context = this.makeScope(r, resource, start, end, urlStart, urlEnd);
      this.scopes.add(this.probe, 0, context);
    }
    return context;
  }

  /** [start, end) holds the metric's name, description and unit and nothing of its data. */
  metric(r: ProtobufReader, scope: ScopeContext, start: number, end: number, header: MetricHeader): MetricContext {
    const { small } = this;
    small[0] = header.kind.charCodeAt(0);
    small[1] = header.kind.charCodeAt(1);
    small[2] = (header.monotonic ? 1 : 0) | (header.delta ? 2 : 0);
    sipHash128(scope.key, small, 0, 3, this.mixed, 0);
    sipHash128(this.mixed, r.bytes, start, end, this.probe, 0);
    let context = this.metrics.get(this.probe);
    if (context === undefined) {
      context = this.makeMetric(r, scope, start, end, header);
      this.metrics.add(this.probe, 0, context);
    }
    return context;
  }

  /** All labels of a point but its name, by the attributes' fields in [start, end). Throws AttributeError. */
  pointLabels(r: ProtobufReader, scope: ScopeContext, field: number, start: number, end: number): Map<string, string> {
    r.reset(start, end);
    const labels = this.translated(readAttributes(r, field, MAX_LABELS));
    const { promoted, identity } = scope.resource;
    for (let i = 0; i < promoted.length; i += 2) {
      if (!labels.has(promoted[i] as string)) labels.set(promoted[i] as string, promoted[i + 1] as string);
    }
    for (const more of [scope.labels, identity]) {
      for (let i = 0; i < more.length; i += 2) labels.set(more[i] as string, more[i + 1] as string);
    }
    return labels;
  }

  /** Attributes as labels: sorted by key, and where two keys become one name their values joined by a semicolon. */
  private translated(flat: readonly string[]): Map<string, string> {
    const labels = new Map<string, string>();
    for (const [key, value] of pairs(flat).sort((a, b) => compareStrings(a[0], b[0]))) {
      const name = this.labelName(key);
      const before = labels.get(name);
      labels.set(name, before === undefined ? value : `${before};${value}`);
    }
    return labels;
  }

  private labelName(key: string): string {
    let name = this.labelNames.get(key);
    if (name === undefined) {
      name = labelName(key, this.settings);
      if (this.labelNames.size >= MAX_LABEL_NAMES) this.labelNames.clear();
      this.labelNames.set(key, name);
    }
    if (name === '')
      throw new AttributeError(`an attribute ${JSON.stringify(key.slice(0, 100))}, of which no label name can be made`);
    return name;
  }

  private makeResource(r: ProtobufReader, start: number, end: number): ResourceContext {
    const key = this.probe.slice();
    try {
      r.reset(start, end);
      const attributes = new Map(pairs(readAttributes(r, 1, MAX_LABELS)));
      const identity = identityOf(attributes);
      const promoted = [...this.translated(this.promoted(attributes))].flat();
      return { key, promoted, identity, targetInfo: this.targetInfo(attributes, identity), problem: '' };
    } catch (error) {
      if (!(error instanceof AttributeError)) throw error;
      return { key, promoted: [], identity: [], targetInfo: null, problem: `its resource has ${error.message}` };
    }
  }

  private promoted(attributes: ReadonlyMap<string, string>): string[] {
    const { promoteAllResourceAttributes, promoteResourceAttributes, ignoreResourceAttributes } = this.settings;
    if (promoteAllResourceAttributes) {
      return [...attributes].filter(([key]) => !ignoreResourceAttributes.includes(key)).flat();
    }
    return [...attributes].filter(([key]) => promoteResourceAttributes.includes(key)).flat();
  }

  /** Only for a resource that something identifies, and that says more than what identifies it. */
  private targetInfo(attributes: ReadonlyMap<string, string>, identity: readonly string[]): Map<string, string> | null {
    const { targetInfo, keepIdentifyingResourceAttributes: keep } = this.settings;
    if (!targetInfo || identity.length === 0) return null;
    const rest = [...attributes].filter(([key]) => !IDENTIFYING.includes(key));
    if (rest.length === 0) return null;
    const labels = this.translated((keep ? [...attributes] : rest).flat());
    for (let i = 0; i < identity.length; i += 2) labels.set(identity[i] as string, identity[i + 1] as string);
    return labels;
  }

  private makeScope(
    r: ProtobufReader,
    resource: ResourceContext,
    start: number,
    end: number,
    urlStart: number,
    urlEnd: number,
  ): ScopeContext {
    const context: ScopeContext = { key: this.probe.slice(), resource, labels: [], problem: '' };
    if (!this.settings.promoteScopeMetadata) return context;
    try {
      context.labels = this.scopeLabels(r, start, end, decoder.decode(r.bytes.subarray(urlStart, urlEnd)));
    } catch (error) {
      if (!(error instanceof AttributeError)) throw error;
      context.problem = `its scope has ${error.message}`;
    }
    return context;
  }

  private scopeLabels(r: ProtobufReader, start: number, end: number, schemaUrl: string): string[] {
    let name = '';
    let version = '';
    r.reset(start, end);
    while (r.more()) {
      const field = r.field();
      if (field === 1) name = readText(r);
      else if (field === 2) version = readText(r);
      else r.skip();
    }
    if (name === '') return [];
    r.reset(start, end);
    const attributes = pairs(readAttributes(r, 3, MAX_LABELS)).filter(([key]) => !SCOPE_FIELDS.has(key));
    const labels = this.translated(attributes.flatMap(([key, value]) => [`otel_scope_${key}`, value]));
    labels.set('otel_scope_name', name);
    labels.set('otel_scope_version', version);
    labels.set('otel_scope_schema_url', schemaUrl);
    return [...labels].flat();
  }

  private makeMetric(
    r: ProtobufReader,
    scope: ScopeContext,
    start: number,
    end: number,
    header: MetricHeader,
  ): MetricContext {
    let name = '';
    let help = '';
    let unit = '';
    let problem = scope.resource.problem || scope.problem;
    try {
      r.reset(start, end);
      while (r.more()) {
        const field = r.field();
        if (field === 1) name = readText(r);
        else if (field === 2) help = readText(r);
        else if (field === 3) unit = readText(r);
        else r.skip();
      }
    } catch (error) {
      if (!(error instanceof AttributeError)) throw error;
      problem = `its name, description or unit has ${error.message}`;
    }
    const promName = metricName(name, unit, nameKind(header), this.settings);
    if (promName === '' && problem === '') problem = 'no metric name can be made of its name';
    return {
      key: this.probe.slice(),
      scope,
      name,
      promName,
      metadata: { metric: promName, type: metadataType(header), help, unit },
      metadataSentIn: 0,
      problem,
      boundsBytes: new Uint8Array(0),
      boundsKey: new Uint32Array(4),
    };
  }
}

const decoder = new TextDecoder();

/** service.name and its namespace are the job, service.instance.id is the instance. */
function identityOf(attributes: ReadonlyMap<string, string>): string[] {
  const identity: string[] = [];
  const name = attributes.get('service.name');
  const namespace = attributes.get('service.namespace');
  const instance = attributes.get('service.instance.id');
  if (name !== undefined) identity.push('job', namespace === undefined ? name : `${namespace}/${name}`);
  if (instance !== undefined) identity.push('instance', instance);
  return identity;
}

function nameKind(header: MetricHeader): NameKind {
  if (header.kind === 'gauge') return 'gauge';
  return header.kind === 'sum' && header.monotonic ? 'counter' : 'other';
}

function metadataType(header: MetricHeader): string {
  switch (header.kind) {
    case 'gauge':
      return 'gauge';
    case 'sum':
      return header.monotonic ? 'counter' : 'gauge';
    case 'summary':
      return 'summary';
    default:
      return 'histogram';
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) out.push([flat[i] as string, flat[i + 1] as string]);
  return out;
}
