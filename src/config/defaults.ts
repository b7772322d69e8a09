/**
 * Every default of sightline.yaml, in the notation of the file, with its reason. The one place where a number is chosen.
 * docs/configuration.md lists the same; a test holds the two together.
 */
export const DEFAULTS = Object.freeze({
  http: Object.freeze({
    // Loopback: without sign-in, whoever reaches the port may read and write everything. 7070 is free of well-known services.
    listen: '127.0.0.1:7070',
    // '' = as the client names it. Behind a proxy: the URL people use, path included.
    external_url: '',
    // Deletes and snapshots over HTTP, for anyone who reaches the port: to be asked for.
    admin_api: false,
    // Of one remote-write request as sent: senders stay under 1 MiB, so this is a client gone wrong. Imports are streams without bound.
    max_body: '32MiB',
    // Requests that run when the process is told to stop get this long to finish, less than the 30 s that service managers wait.
    shutdown_grace: '20s',
  }),
  // Beside the program's working folder, so that a trial leaves nothing elsewhere.
  data_dir: 'data',
  log: Object.freeze({
    // Start, stop, reloads and refusals; nothing per request.
    level: 'info',
  }),
  host: Object.freeze({
    // A new user sees real metrics at once.
    enabled: true,
    // A usual scrape interval; a round costs a few milliseconds.
    interval: '15s',
    // '' = the host's name with port 9100, as node_exporter's series of this host are usually labelled.
    instance: '',
    // Not storage of this host.
    mount_points_exclude: '^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)',
    fs_types_exclude:
      '^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$',
    // Partitions and RAM disks repeat or pad what the whole devices say.
    disk_devices_exclude: '^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$',
    // A container's virtual links come and go by the thousand.
    network_devices_exclude: '^veth',
  }),
  self: Object.freeze({
    // Fine enough to see a stall, at some hundred series cheap.
    interval: '15s',
  }),
  storage: Object.freeze({
    // 0 = one per core. Fixed when the folder is made.
    shards: 0,
    retention: Object.freeze({
      // As Prometheus keeps by default.
      raw: '15d',
      // A quarter at a resolution that still shows an hour well.
      '1m': '90d',
      // A year and a month, to compare with the year before.
      '1h': '400d',
      // '' = no bound. Oldest blocks go first.
      size: '',
    }),
    downsample: Object.freeze({
      // Age at which raw samples become 1 min points: alerts and debugging look at the last week.
      '1m': '7d',
      // Age at which 1 min points become 1 h points.
      '1h': '30d',
    }),
    // Tenant name to its own `retention` and `downsample`; what is not given there is as above.
    tenants: Object.freeze({}),
    // Periods for single series: none.
    rules: Object.freeze([]),
    dedup: Object.freeze({
      // 0 = off. With several scrapers on the same targets: their scrape interval.
      interval: '0s',
      // Labels that tell the scrapers apart, e.g. prometheus_replica; taken off incoming series.
      replica_labels: Object.freeze([] as string[]),
    }),
    wal: Object.freeze({
      // Everything acknowledged survives kill -9 in any mode; this is about power loss. interval: lose at most the interval. always:
      // lose nothing, at one fdatasync per commit. never: the kernel's own write-back, some 30 s.
      sync: 'interval',
      // A tenth of a second costs under 1 % of a core and bounds what power loss takes.
      sync_interval: '100ms',
    }),
  }),
  query: Object.freeze({
    // Longer than a person waits.
    timeout: '30s',
    // 50 M samples at 16 B in flight, as Prometheus.
    max_samples: 50_000_000,
    // Per tenant; the rest queue fairly. More than cores gain nothing.
    max_concurrent: 8,
    // As Prometheus: over four scrapes at 1 min.
    lookback_delta: '5m',
    // Queries slower than this are logged with their statistics.
    slow_after: '5s',
  }),
});
