/**
 * Queries to begin with, over the metrics that this host's own collector brings. The first one is shown to whoever opens
 * the page for the first time: it has to give a graph that needs no explanation.
 */
export interface Example {
  label: string;
  query: string;
}

export const EXAMPLES: [Example, ...Example[]] = [
  { label: 'CPU by mode, %', query: '100 * avg by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[1m]))' },
  { label: 'Load', query: '{__name__=~"node_load1|node_load5|node_load15"}' },
  {
    label: 'Memory used, %',
    query: '100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)',
  },
  {
    label: 'Disk used, %',
    query: '100 * (1 - node_filesystem_avail_bytes / (node_filesystem_size_bytes > 0))',
  },
  { label: 'Disk writes, B/s', query: 'rate(node_disk_written_bytes_total[1m])' },
  {
    label: 'Network in, B/s',
    query: 'rate(node_network_receive_bytes_total{device!="lo"}[1m])',
  },
  { label: 'Targets up', query: 'up' },
];
