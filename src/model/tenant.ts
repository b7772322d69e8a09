/** Tenant: whose data it is. Every batch, query, file and limit carries one. */

export type TenantId = string;

/** The tenant of requests that name none where sign-in is off. */
export const DEFAULT_TENANT: TenantId = 'default';
/** Sightline's own telemetry; cannot be written from outside. */
export const SELF_TENANT: TenantId = '_self';

/** As Mimir and Loki have it: 1-150 of these characters, not '.' or '..'. It becomes a folder name. */
export function isValidTenant(id: string): boolean {
  return id.length <= 150 && /^[a-zA-Z0-9!\-_.*'()]+$/.test(id) && id !== '.' && id !== '..';
}
