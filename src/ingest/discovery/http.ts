/** HttpDiscoverer: asks a URL for target groups in JSON, again and again. */

import {
  BODY_BYTES_MAX,
  type Discoverer,
  type DiscoveryContext,
  HttpStatusError,
  refreshEvery,
  type SdHttp,
} from './discoverer.ts';
import { parseGroupsJson } from './group-file.ts';
import type { HttpSection } from './sections.ts';
import type { TargetGroup } from './target-group.ts';

const JSON_TYPE = /^application\/json(?:\s*;\s*charset=(?:"utf-8"|utf-8))?\s*$/i;

export class HttpDiscoverer implements Discoverer {
  private readonly section: HttpSection;

  constructor(section: HttpSection) {
    this.section = section;
  }

  async run(context: DiscoveryContext): Promise<void> {
    const { httpClient, baseDir, refreshIntervalMs } = this.section;
    const http = context.openHttp(httpClient, baseDir);
    try {
      await refreshEvery(context, refreshIntervalMs, signal => this.refresh(http, signal));
    } finally {
      http.close();
    }
  }

  private async refresh(http: SdHttp, signal: AbortSignal): Promise<TargetGroup[]> {
    const { url, refreshIntervalMs } = this.section;
    const headers = {
      accept: 'application/json',
      'accept-encoding': 'gzip',
      'x-prometheus-refresh-interval-seconds': String(refreshIntervalMs / 1000),
    };
    const response = await http.request({ url, headers, signal, bodyBytesMax: BODY_BYTES_MAX });
    if (response.status !== 200) throw new HttpStatusError(response, response.body);
    const type = String(response.headers['content-type'] ?? '');
    if (!JSON_TYPE.test(type)) {
      throw new Error(`the answer's content type is ${JSON.stringify(type)}, application/json is wanted`);
    }
    const groups = parseGroupsJson(response.body, i => `${url}:${i}`);
    return groups.map(group => ({ ...group, labels: new Map([...group.labels, ['__meta_url', url]]) }));
  }
}
