/**
 * DnsDiscoverer: targets from A, AAAA, SRV, MX and NS records, asked again and again.
 *
 * Names are completed as resolv.conf says (search, ndots): the resolver below asks for exactly what it is told. A name that does not exist
 * has no targets; one that could not be asked keeps those it had.
 */
import { readFileSync } from 'node:fs';
import { errorText } from '../../lib/log.ts';
import { type Discoverer, type DiscoveryContext, refreshEvery } from './discoverer.ts';
import type { DnsSection } from './sections.ts';
import { joinHostPort, type TargetGroup } from './target-group.ts';

/** What is needed of node:dns/promises' Resolver. */
export interface DnsResolver {
  resolve4(name: string): Promise<string[]>;
  resolve6(name: string): Promise<string[]>;
  resolveSrv(name: string): Promise<{ name: string; port: number }[]>;
  resolveMx(name: string): Promise<{ exchange: string }[]>;
  resolveNs(name: string): Promise<string[]>;
  cancel(): void;
}

export interface SearchRules {
  /** Domains to try behind a name. */
  search: readonly string[];
  /** Names with at least as many dots are tried as they are first. */
  ndots: number;
}

const PREFIX = '__meta_dns_';
const META = ['srv_record_target', 'srv_record_port', 'mx_record_target', 'ns_record_target'] as const;

export class DnsDiscoverer implements Discoverer {
  private readonly section: DnsSection;
  private readonly openResolver: () => DnsResolver;
  private readonly rules: () => SearchRules;
  private known = new Map<string, TargetGroup>();

  constructor(section: DnsSection, openResolver: () => DnsResolver, rules: () => SearchRules = systemRules) {
    this.section = section;
    this.openResolver = openResolver;
    this.rules = rules;
  }

  run(context: DiscoveryContext): Promise<void> {
    return refreshEvery(context, this.section.refreshIntervalMs, signal => this.refresh(context, signal));
  }

  private async refresh(context: DiscoveryContext, signal: AbortSignal): Promise<TargetGroup[]> {
    // A new one each time: it reads the system's servers, which may have changed.
    const resolver = this.openResolver();
    const cancel = (): void => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      const rules = this.rules();
      const failures: string[] = [];
      const groups = await Promise.all(
        this.section.names.map(async name => {
          try {
            return { source: name, labels: new Map<string, string>(), targets: await this.ask(resolver, name, rules) };
          } catch (error) {
            failures.push(`${name}: ${errorText(error)}`);
            return this.known.get(name) ?? null;
          }
        }),
      );
      const good = groups.filter(group => group !== null);
      this.known = new Map(good.map(group => [group.source, group]));
      if (failures.length > 0) {
        context.merge(good);
        throw new Error(failures.slice(0, 5).join('; '));
      }
      return good;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  private async ask(resolver: DnsResolver, name: string, rules: SearchRules): Promise<Map<string, string>[]> {
    let failure: unknown = null;
    for (const full of candidates(name, rules)) {
      try {
        const targets = await this.records(resolver, name, full);
        if (targets.length > 0) return targets;
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code !== 'ENOTFOUND' && code !== 'ENODATA') failure ??= error;
      }
    }
    // Where one of the names could not be asked, nobody knows that there is none.
    if (failure !== null) throw failure;
    return [];
  }

  private async records(resolver: DnsResolver, name: string, full: string): Promise<Map<string, string>[]> {
    const { port } = this.section;
    switch (this.section.type) {
      case 'SRV':
        return (await resolver.resolveSrv(full)).map(record =>
          target(name, joinHostPort(bare(record.name), record.port), {
            srv_record_target: rooted(record.name),
            srv_record_port: String(record.port),
          }),
        );
      case 'MX':
        return (await resolver.resolveMx(full)).map(({ exchange }) =>
          target(name, joinHostPort(bare(exchange), port), { mx_record_target: rooted(exchange) }),
        );
      case 'NS':
        return (await resolver.resolveNs(full)).map(server =>
          target(name, joinHostPort(bare(server), port), { ns_record_target: rooted(server) }),
        );
      case 'A':
        return (await resolver.resolve4(full)).map(address => target(name, joinHostPort(address, port), {}));
      case 'AAAA':
        return (await resolver.resolve6(full)).map(address => target(name, joinHostPort(address, port), {}));
    }
  }
}

function target(
  name: string,
  address: string,
  meta: Partial<Record<(typeof META)[number], string>>,
): Map<string, string> {
  const labels = new Map([
    ['__address__', address],
    [`${PREFIX}name`, name],
  ]);
  for (const key of META) labels.set(`${PREFIX}${key}`, meta[key] ?? '');
  return labels;
}

/** Without the dot of the root. */
function bare(name: string): string {
  return name.replace(/\.+$/, '');
}

/** With it: as the record has it. */
function rooted(name: string): string {
  return name.endsWith('.') ? name : `${name}.`;
}

/** Full names to ask for, in order. */
export function candidates(name: string, { search, ndots }: SearchRules): string[] {
  if (name.endsWith('.')) return [bare(name)];
  const dots = name.split('.').length - 1;
  const completed = search.map(domain => `${name}.${bare(domain)}`);
  return dots >= ndots ? [name, ...completed] : [...completed, name];
}

/** From /etc/resolv.conf; without one names are taken as they are. */
function systemRules(): SearchRules {
  try {
    return parseResolvConf(readFileSync('/etc/resolv.conf', 'utf8'));
  } catch {
    return { search: [], ndots: 1 };
  }
}

export function parseResolvConf(text: string): SearchRules {
  let search: string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === 'search' || keyword === 'domain') search = values.slice(0, 32).filter(domain => domain !== '.');
    if (keyword !== 'options') continue;
    for (const option of values) {
      const count = /^ndots:(\d{1,3})$/.exec(option)?.[1];
      if (count !== undefined) ndots = Math.min(15, Number(count));
    }
  }
  return { search, ndots };
}
