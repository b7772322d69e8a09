/**
 * OtlpDoors: the sockets of OTLP, gRPC on 4317 and HTTP on 4318 unless told otherwise; opened, moved and closed as the configuration says.
 *
 * A port that another program has is no reason not to start: the log says which, and what to do; the main port takes OTLP in any case.
 */
import type { OtlpGate } from '../api/otlp/gate.ts';
import { OTLP_PATHS, registerOtlpRoutes } from '../api/otlp/routes.ts';
import { type Config, parseHostPort } from '../config/schema.ts';
import type { Authenticator } from '../contracts/auth.ts';
import type { Logger } from '../lib/log.ts';
import { HttpServer, type HttpServerOptions, isLoopback, type TlsSettings } from './http-server.ts';
import { OtlpGrpcServer } from './otlp-grpc.ts';

export interface OtlpDoorsDeps {
  gate: OtlpGate;
  log: Logger;
  authenticator: Authenticator;
  /** Sign-in over HTTP. */
  guard: HttpServerOptions['guard'];
  /** Of the main port; doors that other machines reach speak TLS where it does. */
  tls: TlsSettings | null;
  /** Whether an address must stay shut: other machines reach it, and nobody has to sign in. */
  openToAll(host: string): boolean;
  graceMs: number;
}

type DoorName = 'grpc' | 'http';

interface OpenDoor {
  /** As configured. */
  address: string;
  /** As people and senders name it. */
  url: string;
  close(graceMs: number): Promise<void>;
  /** Takes new certificates; null where only opening it again does, '' where it has none. */
  setTls: ((settings: TlsSettings) => void) | null | '';
}

const DOORS: readonly DoorName[] = ['grpc', 'http'];
const SPOKEN: Readonly<Record<DoorName, string>> = { grpc: 'OTLP/gRPC', http: 'OTLP/HTTP' };

export class OtlpDoors {
  private readonly deps: OtlpDoorsDeps;
  private readonly open = new Map<DoorName, OpenDoor>();
  private tls: TlsSettings | null;
  private config: Config['otlp'] | null = null;
  /** Changes one after the other. */
  private turn: Promise<void> = Promise.resolve();

  constructor(deps: OtlpDoorsDeps) {
    this.deps = deps;
    this.tls = deps.tls;
  }

  /** The certificates have changed. */
  setTls(settings: TlsSettings): Promise<void> {
    this.tls = settings;
    this.turn = this.turn.then(async () => {
      for (const [name, door] of this.open) {
        if (door.setTls === null) await this.move(name, door.address, this.config as Config['otlp'], true);
        else if (door.setTls !== '') door.setTls(settings);
      }
    });
    return this.turn;
  }

  /** `http://127.0.0.1:4318`, `127.0.0.1:4317`; '' where the door is shut. */
  url(name: DoorName): string {
    return this.open.get(name)?.url ?? '';
  }

  /** Resolves when the doors are as configured, or the log says why not. Never rejects. */
  apply(config: Config['otlp']): Promise<void> {
    this.turn = this.turn.then(async () => {
      this.config = config;
      for (const name of DOORS) await this.move(name, config[name], config);
    });
    return this.turn;
  }

  close(): Promise<void> {
    this.turn = this.turn.then(async () => {
      await Promise.all([...this.open.values()].map(door => door.close(this.deps.graceMs)));
      this.open.clear();
    });
    return this.turn;
  }

  private async move(name: DoorName, address: string, config: Config['otlp'], again = false): Promise<void> {
    const before = this.open.get(name);
    if (before?.address === address && !again) return;
    if (before !== undefined) {
      this.open.delete(name);
      await before.close(this.deps.graceMs);
    }
    if (address === '') return;
    try {
      const door = await this.listen(name, address, config);
      this.open.set(name, { ...door, address });
      this.deps.log.info({ address: door.url }, `${SPOKEN[name]} listening`);
    } catch (error) {
      this.deps.log.warn({ address }, `${SPOKEN[name]} is shut: ${shutBecause(name, address, error as Error)}`);
    }
  }

  private async listen(name: DoorName, address: string, config: Config['otlp']): Promise<Omit<OpenDoor, 'address'>> {
    const { host, port } = parseHostPort(address);
    if (this.deps.openToAll(host)) throw new Error('INSECURE');
    // Programs of this machine send here by themselves, and without TLS.
    const tls = isLoopback(host) ? null : this.tls;
    if (name === 'grpc') {
      const server = await OtlpGrpcServer.listen({
        host,
        port,
        gate: this.deps.gate,
        messageBytesMax: config.max_body,
        authenticator: this.deps.authenticator,
        tls,
      });
      const shown = host.includes(':') ? `[${host}]` : host;
      return {
        url: `${shown}:${server.port}`,
        close: graceMs => server.close(graceMs),
        setTls: tls === null ? '' : null,
      };
    }
    const server = await HttpServer.listen({
      host,
      port,
      prefix: '',
      maxBodyBytes: config.max_body,
      log: this.deps.log,
      raw: [],
      tls,
      guard: this.deps.guard,
      routes: [
        app => registerOtlpRoutes(app, { gate: this.deps.gate, paths: OTLP_PATHS, bodyBytesMax: config.max_body }),
      ],
    });
    const setTls = tls === null ? '' : (settings: TlsSettings) => server.setTls(settings);
    return { url: server.url, close: graceMs => server.close(graceMs), setTls };
  }
}

function shutBecause(name: DoorName, address: string, error: Error): string {
  const remedy = `choose another address with --otlp-${name} HOST:PORT (port 0 picks a free one), or off for none`;
  if (error.message === 'INSECURE') {
    return `${address} can be reached from other machines, and nobody has to sign in. Give out tokens (docs/security.md), say --insecure where the network is trusted, or ${remedy}`;
  }
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'EADDRINUSE' || /EADDRINUSE/.test(error.message)) {
    return `${address} is in use by another program (a collector?): stop it, or ${remedy}`;
  }
  return `${error.message}: ${remedy}`;
}
