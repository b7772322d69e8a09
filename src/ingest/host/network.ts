/** Network: /proc/net/dev, /sys/class/net (a choice), protocol counters (a choice), sockets in use, softnet queues. */
import { type HostFiles, numbers } from './host-files.ts';
import type { HostSamples } from './host-writer.ts';

const RECEIVE = ['bytes', 'packets', 'errs', 'drop', 'fifo', 'frame', 'compressed', 'multicast'] as const;
const TRANSMIT = ['bytes', 'packets', 'errs', 'drop', 'fifo', 'colls', 'carrier', 'compressed'] as const;

/** Each costs half a dozen small reads in /sys. */
const SYSFS_DEVICES_MAX = 64;

export class NetworkDeviceCollector {
  private readonly excluded: (device: string) => boolean;

  constructor(excluded: (device: string) => boolean) {
    this.excluded = excluded;
  }

  collect(files: HostFiles, out: HostSamples): void {
    for (const line of files.read('proc/net/dev').split('\n')) {
      const colon = line.lastIndexOf(':');
      if (colon < 0) continue;
      const device = line.slice(0, colon).trim();
      if (this.excluded(device)) continue;
      const columns = numbers(line.slice(colon + 1));
      const labels = ['device', device];
      for (let i = 0; i < 8; i++) {
        const rx = RECEIVE[i] as string;
        const tx = TRANSMIT[i] as string;
        out.counter(
          `node_network_receive_${rx}_total`,
          `Network device statistic receive_${rx}.`,
          columns[i] as number,
          labels,
        );
        out.counter(
          `node_network_transmit_${tx}_total`,
          `Network device statistic transmit_${tx}.`,
          columns[i + 8] as number,
          labels,
        );
      }
    }
  }

  collectClass(files: HostFiles, out: HostSamples): void {
    const devices = files.list('sys/class/net').filter(device => !this.excluded(device));
    for (const device of devices.slice(0, SYSFS_DEVICES_MAX)) {
      const read = (name: string): string => files.tryRead(`sys/class/net/${device}/${name}`).trim();
      const labels = ['device', device];
      const state = read('operstate');
      // bonding_masters is a file beside the devices.
      if (state === '') continue;
      out.gauge('node_network_up', "Value is 1 if operstate is 'up', 0 otherwise.", state === 'up' ? 1 : 0, labels);
      const info = [
        'address',
        read('address'),
        'duplex',
        read('duplex'),
        'ifalias',
        read('ifalias'),
        'operstate',
        state,
      ];
      out.gauge('node_network_info', 'Non-numeric data from /sys/class/net/<iface>, value is always 1.', 1, [
        ...labels,
        ...info,
      ]);
      const number = (name: string): number => (read(name) === '' ? Number.NaN : Number(read(name)));
      out.gauge('node_network_carrier', 'Network device property: carrier', number('carrier'), labels);
      out.counter(
        'node_network_carrier_changes_total',
        'Network device property: carrier_changes_total',
        number('carrier_changes'),
        labels,
      );
      out.gauge('node_network_mtu_bytes', 'Network device property: mtu_bytes', number('mtu'), labels);
      const megabits = number('speed');
      // -1 where the device does not know.
      if (megabits >= 0)
        out.gauge('node_network_speed_bytes', 'Network device property: speed_bytes', (megabits * 1e6) / 8, labels);
    }
  }
}

/** `Protocol_Field` of /proc/net/{netstat,snmp,snmp6}: errors, traffic, and what tells an overloaded listener. */
const NETSTAT = new Set(
  [
    'Icmp:InErrors InMsgs OutMsgs',
    'Icmp6:InErrors InMsgs OutMsgs',
    'Ip:Forwarding',
    'Ip6:InOctets OutOctets',
    'IpExt:InOctets OutOctets',
    'Tcp:ActiveOpens CurrEstab InErrs InSegs OutRsts OutSegs PassiveOpens RetransSegs',
    'TcpExt:ListenDrops ListenOverflows SyncookiesFailed SyncookiesRecv SyncookiesSent TCPSynRetrans TCPTimeouts',
    'Udp:InDatagrams InErrors NoPorts OutDatagrams RcvbufErrors SndbufErrors',
    'Udp6:InDatagrams InErrors NoPorts OutDatagrams RcvbufErrors SndbufErrors',
    'UdpLite:InErrors',
    'UdpLite6:InErrors',
  ].flatMap(line => {
    const [protocol, fields] = line.split(':') as [string, string];
    return fields.split(' ').map(field => `${protocol}_${field}`);
  }),
);

export function collectNetstat(files: HostFiles, out: HostSamples): void {
  const add = (name: string, value: number): void => {
    if (NETSTAT.has(name)) out.unknown(`node_netstat_${name}`, `Statistic ${name.replace('_', '')}.`, value);
  };
  for (const file of ['proc/net/netstat', 'proc/net/snmp']) {
    // Pairs of lines: names, then values, both begin with the protocol.
    const lines = files.read(file).split('\n');
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const names = (lines[i] as string).split(' ');
      const values = (lines[i + 1] as string).split(' ');
      const protocol = (names[0] as string).replace(':', '');
      for (let k = 1; k < names.length; k++) add(`${protocol}_${names[k]}`, Number(values[k]));
    }
  }
  for (const line of files.tryRead('proc/net/snmp6').split('\n')) {
    const [field, value] = line.trim().split(/\s+/);
    const six = (field ?? '').indexOf('6');
    if (six > 0) add(`${field?.slice(0, six + 1)}_${field?.slice(six + 1)}`, Number(value));
  }
}

/** Kernel pages, for the `mem` counts of /proc/net/sockstat. */
const PAGE_BYTES = 4096;

export function collectSockstat(files: HostFiles, out: HostSamples): void {
  for (const file of ['proc/net/sockstat', 'proc/net/sockstat6']) {
    for (const line of files.tryRead(file).split('\n')) {
      const [head, ...pairs] = line.split(' ');
      const protocol = head?.replace(':', '') ?? '';
      for (let i = 0; i + 1 < pairs.length; i += 2) {
        const name = `node_sockstat_${protocol}_${pairs[i]}`;
        const value = Number(pairs[i + 1]);
        out.gauge(name, `Number of ${protocol} sockets in state ${pairs[i]}.`, value);
        if (pairs[i] === 'mem')
          out.gauge(`${name}_bytes`, `Number of ${protocol} sockets in state mem_bytes.`, value * PAGE_BYTES);
      }
    }
  }
}

const SOFTNET = [
  [0, 'node_softnet_processed_total', 'Number of processed packets'],
  [1, 'node_softnet_dropped_total', 'Number of dropped packets'],
  [2, 'node_softnet_times_squeezed_total', 'Number of times processing packets ran out of quota'],
] as const;

export function collectSoftnet(files: HostFiles, out: HostSamples): void {
  const lines = files.read('proc/net/softnet_stat').trim().split('\n');
  for (let cpu = 0; cpu < lines.length; cpu++) {
    const columns = (lines[cpu] as string).split(' ');
    for (const [column, name, help] of SOFTNET) {
      out.counter(name, help, Number.parseInt(columns[column] ?? '', 16), ['cpu', String(cpu)]);
    }
  }
}
