/**
 * PushGateway: groups of metrics that short-lived jobs leave behind, given out at every collection until they are deleted.
 *
 * A group is named by the labels of its path; what is pushed to it replaces what was there (all of it, or families of the same name).
 * Calls resolve when the change survives kill -9.
 */
import type { TenantId } from '../model/tenant.ts';

export interface PushRequest {
  tenant: TenantId;
  /** The URL's path behind `/metrics/`, still percent-encoded: `job/nightly/instance/db1`. */
  path: string;
  contentType: string;
  contentEncoding: string;
  body: Uint8Array;
  /** true: the group is replaced (PUT); false: its families of the same names (POST). */
  replace: boolean;
}

export interface PushAnswer {
  status: number;
  /** '' or text for a person. */
  body: string;
}

export interface PushGroupView {
  labels: Record<string, string>;
  pushTimeMs: number;
  /** 0: never. */
  failureTimeMs: number;
  lastPushOk: boolean;
  families: { name: string; type: string; help: string; pushTimeMs: number; samples: PushSampleView[] }[];
}

export interface PushSampleView {
  labels: Record<string, string>;
  /** As exposition text writes it. */
  value: string;
}

export interface PushGateway {
  push(request: PushRequest): Promise<PushAnswer>;
  delete(tenant: TenantId, path: string): Promise<PushAnswer>;
  /** All groups of a tenant. */
  wipe(tenant: TenantId): Promise<void>;
  list(tenant: TenantId): PushGroupView[];
  /** All groups of a tenant as exposition text, as a scrape of a Pushgateway would see them. */
  expose(tenant: TenantId): string;
}
