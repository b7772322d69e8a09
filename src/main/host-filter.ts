/** The host collector's filter, from the configuration's expressions (RE2 syntax, not anchored, as node_exporter's flags). */
import { RE2JS } from 're2js';
import type { HostFilter } from '../ingest/host/host-collector.ts';

export interface HostFilterSettings {
  mount_points_exclude: string;
  fs_types_exclude: string;
  disk_devices_exclude: string;
  network_devices_exclude: string;
}

/** The expressions have been checked when the configuration was loaded. '' excludes nothing. */
export function hostFilter(settings: HostFilterSettings): HostFilter {
  return {
    mountPoint: matcher(settings.mount_points_exclude),
    fsType: matcher(settings.fs_types_exclude),
    disk: matcher(settings.disk_devices_exclude),
    network: matcher(settings.network_devices_exclude),
  };
}

const ANSWERS_MAX = 1000;

/** Names come again every round: answers are kept. */
function matcher(expression: string): (name: string) => boolean {
  if (expression === '') return () => false;
  const compiled = RE2JS.compile(expression);
  const answers = new Map<string, boolean>();
  return name => {
    let answer = answers.get(name);
    if (answer === undefined) {
      answer = compiled.test(name);
      if (answers.size >= ANSWERS_MAX) answers.clear();
      answers.set(name, answer);
    }
    return answer;
  };
}
