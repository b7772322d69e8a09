/**
 * Pods of a fleet of web services as OpenTelemetry SDKs report them: one resource a pod, 1,000 samples in 280 points, as in app-series.ts:
 * a counter with 200 points, a histogram with 40 points of 12 buckets (560 samples), 8 gauges with 30 points. Encoded by hand
 * in the order in which the collector writes its fields.
 */
import { ProtobufWriter } from '../../src/lib/protobuf.ts';
import { mix, mixUnit } from '../lib/random.ts';

export const SAMPLES_PER_POD = 1000;
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'];
const STATUSES = ['200', '400', '404', '500'];
const CUMULATIVE = 2;

const words = new Uint32Array(2);
const big = new BigUint64Array(words.buffer);

export class OtlpPods {
  private readonly seed: number;
  private readonly startMs: number;
  private readonly w = new ProtobufWriter(1 << 20);
  /** Running counts, by pod and point. */
  private readonly counts: Float64Array;

  constructor(pods: number, seed: number, startMs: number) {
    this.seed = seed;
    this.startMs = startMs;
    this.counts = new Float64Array(pods * SAMPLES_PER_POD);
  }

  /** One request with the pods [from, to); rounds must be asked for in order, each once. */
  message(from: number, to: number, round: number, timeMs: number): Uint8Array {
    const { w } = this;
    w.clear();
    for (let pod = from; pod < to; pod++) this.pod(pod, round, timeMs);
    return w.finish().slice();
  }

  private pod(pod: number, round: number, timeMs: number): void {
    const { w } = this;
    const resourceMetrics = w.begin(1);
    const resource = w.begin(1);
    const address = `10.${(pod >> 16) & 255}.${(pod >> 8) & 255}.${pod & 255}`;
    this.attribute(1, 'service.name', ['checkout-api', 'payments-gateway', 'basket-service'][pod % 3] as string);
    this.attribute(1, 'service.namespace', `commerce-${pod % 7}`);
    this.attribute(1, 'service.instance.id', `${address}:8080`);
    this.attribute(1, 'k8s.pod.name', `pod-${mix(pod, this.seed).toString(36)}`);
    this.attribute(1, 'k8s.node.name', `ip-${address.replaceAll('.', '-')}.eu-west-1.compute.internal`);
    this.attribute(1, 'k8s.cluster.name', 'production-eu-west-1');
    w.close(resource);
    const scopeMetrics = w.begin(2);
    const scope = w.begin(1);
    w.string(1, 'io.opentelemetry.http');
    w.close(scope);
    let at = pod * SAMPLES_PER_POD;
    this.metric('http.server.requests', '{request}', 7, () => {
      for (let k = 0; k < 200; k++) this.counter(at++, k, round, timeMs);
      w.varint(2, CUMULATIVE);
      w.varint(3, 1);
    });
    this.metric('http.server.request.duration', 's', 9, () => {
      for (let k = 0; k < 40; k++, at += 12) this.histogram(at, k, round, timeMs);
      w.varint(2, CUMULATIVE);
    });
    for (let g = 0; g < 8; g++) {
      this.metric(`runtime.gauge.${g}`, 'By', 5, () => {
        for (let k = 0; k < 30; k++) this.gauge(at++, k, round, timeMs);
      });
    }
    w.close(scopeMetrics);
    w.close(resourceMetrics);
  }

  private metric(name: string, unit: string, kind: number, points: () => void): void {
    const { w } = this;
    const metric = w.begin(2);
    w.string(1, name);
    w.string(3, unit);
    const data = w.begin(kind);
    points();
    w.close(data);
    w.close(metric);
  }

  private counter(at: number, k: number, round: number, timeMs: number): void {
    const { w } = this;
    const total = this.add(at, Math.floor(mixUnit(at ^ this.seed, round) * 200));
    const point = w.begin(1);
    this.times(timeMs);
    this.fixed(6, BigInt(total));
    this.attribute(7, 'http.request.method', METHODS[k % 5] as string);
    this.attribute(7, 'http.route', `/api/v1/orders/{id}/${Math.floor(k / 5) % 10}`);
    this.attribute(7, 'http.response.status_code', STATUSES[Math.floor(k / 50)] as string);
    w.close(point);
  }

  private histogram(at: number, k: number, round: number, timeMs: number): void {
    const { w } = this;
    const counts: bigint[] = [];
    let count = 0;
    for (let b = 0; b < 12; b++) {
      const n = this.add(at + b, Math.floor(mixUnit((at + b) ^ this.seed, round) * 40));
      counts.push(BigInt(n));
      count += n;
    }
    const point = w.begin(1);
    this.times(timeMs);
    this.fixed(4, BigInt(count));
    w.double(5, count * 0.0625);
    const packed = w.begin(6);
    for (const n of counts) w.raw(bytesOf(n));
    w.close(packed);
    w.packedDoubles(7, BOUNDS);
    this.attribute(9, 'http.request.method', METHODS[k % 4] as string);
    this.attribute(9, 'http.route', `/api/v1/orders/{id}/${Math.floor(k / 4)}`);
    this.attribute(9, 'network.protocol.version', '2.0');
    w.close(point);
  }

  private gauge(at: number, k: number, round: number, timeMs: number): void {
    const { w } = this;
    const point = w.begin(1);
    this.times(timeMs);
    w.double(4, Math.floor(mixUnit(at ^ this.seed, round) * 1e6));
    this.attribute(7, 'pool', `pool-${k}`);
    this.attribute(7, 'component', 'request-pipeline');
    this.attribute(7, 'team', 'commerce-platform');
    w.close(point);
  }

  private add(at: number, more: number): number {
    const total = (this.counts[at] as number) + more;
    this.counts[at] = total;
    return total;
  }

  private times(timeMs: number): void {
    this.fixed(2, BigInt(this.startMs) * 1_000_000n);
    this.fixed(3, BigInt(timeMs) * 1_000_000n);
  }

  private fixed(field: number, n: bigint): void {
    big[0] = n;
    this.w.doubleFrom(field, words, 0);
  }

  private attribute(field: number, key: string, value: string): void {
    const { w } = this;
    const keyValue = w.begin(field);
    w.string(1, key);
    const any = w.begin(2);
    w.string(1, value);
    w.close(any);
    w.close(keyValue);
  }
}

function bytesOf(n: bigint): Uint8Array {
  big[0] = n;
  return new Uint8Array(words.buffer.slice(0));
}
