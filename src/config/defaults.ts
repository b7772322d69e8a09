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
    // Names under which browsers may change things, beside localhost, addresses and the external URL's.
    allowed_hosts: Object.freeze([] as string[]),
    // Nobody else's word on where a request comes from is taken.
    trusted_proxies: Object.freeze([] as string[]),
  }),
  auth: Object.freeze({
    // Off while nobody has a token, a user or a certificate: then only this machine may reach the ports. true: on in any case, for
    // tokens that are made at run time.
    required: false,
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
  otlp: Object.freeze({
    // The ports that every OpenTelemetry SDK and agent sends to by itself. 'off' = shut; loopback, as http.listen.
    grpc: '127.0.0.1:4317',
    http: '127.0.0.1:4318',
    // Of one message, for gRPC unpacked: the collector's own receiver stops at 4 MiB, its batches may be larger.
    max_body: '16MiB',
    // What a resource says of itself, as one series, so that it can be joined in.
    target_info: true,
    // Sums up what delta senders report; 'refuse' = as Prometheus without its feature flag.
    delta: 'convert',
    // Totals at a time: 100,000 numbers are some 20 MB.
    delta_max_series: 100_000,
    // Senders pause for minutes, not for an hour.
    delta_max_stale: '1h',
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
  limits: Object.freeze({
    // Some 2 GB of memory. More than a server of the usual size should meet unasked; an explosion meets it in minutes.
    active_series: 3_000_000,
    // A histogram of a thousand pods has half a million; more in one metric is a label gone wrong.
    series_per_metric: 1_000_000,
    // 0 = no limit: one team on one server has nobody to be protected from.
    samples_per_second: 0,
    // 0 = one second's worth: what senders hold back over a restart comes at once.
    samples_burst: 0,
    // Service discovery and resource attributes bring 20 to 40.
    labels_per_series: 64,
    // Bytes. No name made by hand is longer.
    label_name_length: 1024,
    // Bytes. Texts (statements, stack traces) belong into logs.
    label_value_length: 2048,
    // One value per user or request makes one series per user or request. With their spellings as attributes.
    blocked_labels: Object.freeze(['user_id', 'request_id', 'session_id', 'user.id', 'request.id', 'session.id']),
    // More than a page of graphs could show.
    exemplars_per_second: 1000,
    // Some 36 bytes each in memory.
    exemplars_kept: 100_000,
    // One per series and minute is kept besides.
    exemplars_one_in: 1000,
    // Texts of so many metrics; a big cluster has some thousands.
    metadata_metrics: 20_000,
    // '' = of the container, or three quarters of the machine.
    memory: '',
    // Tenant name to its own limits.
    tenants: Object.freeze({}),
  }),
  forward: Object.freeze({
    // The queue of remote_write on disk, over all shards and endpoints: at 10,000 samples/s about nine hours of a receiver's absence.
    max_bytes: '4GiB',
    // A weekend: what is older is of little use to alerts at the receiver, and is still here.
    max_age: '3d',
  }),
  push: Object.freeze({
    gateway: Object.freeze({
      // Jobs push to what people already have the address of; nothing is held until one does.
      enabled: true,
      // A usual scrape interval: groups look like a scraped Pushgateway.
      interval: '15s',
      // Per tenant. A group per run, never deleted, is what fills it.
      max_groups: 10_000,
      // Of all groups of a tenant as text: some 600,000 samples, written again at each interval.
      max_bytes: '64MiB',
    }),
    influx: Object.freeze({
      // measurement_field
      separator: '_',
      // Label that gets the database or bucket written to; '' = none.
      db_label: 'db',
    }),
    // Dots in the names of Graphite and Datadog: keep them, or make underscores, which need no quotes in PromQL.
    dots: 'keep',
    graphite: Object.freeze({
      // '' = off; 127.0.0.1:2003 is where Graphite's clients look.
      listen: '',
      tcp: true,
      udp: true,
      tenant: 'default',
      max_connections: 1000,
      // More than a worker stores: what comes faster is a mistake or an attack.
      max_lines_per_second: 500_000,
    }),
    statsd: Object.freeze({
      // '' = off; 127.0.0.1:8125 is where StatsD's clients look.
      listen: '',
      tcp: true,
      udp: true,
      // A Unix stream socket; '' = none.
      unix: '',
      tenant: 'default',
      max_connections: 1000,
      // Aggregation runs on the main thread: this is about half of it.
      max_lines_per_second: 200_000,
      // As StatsD's own daemon.
      flush_interval: '10s',
      // Idle series end after this; a job that reports hourly keeps its counter.
      ttl: '2h',
      // Some 60 MB of counters, or 160 MB of summaries.
      max_series: 100_000,
      // As statsd_exporter; histograms can be added up, summaries need no bounds.
      observer: 'summary',
      quantiles: Object.freeze([0.5, 0.9, 0.99]),
      // Quantiles are those of the last ten minutes.
      quantile_window: '10m',
      // Seconds: from a cache hit to a person's patience.
      buckets: Object.freeze([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]),
      // '' = none; rules in statsd_exporter's form.
      mapping_file: '',
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
    // A month: for whoever is signed in without the right long-range. Not imposed where nobody signs in. 0 = no bound.
    adhoc_range_max: '31d',
  }),
});
