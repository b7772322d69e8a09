/** The discoverer of a section. */
import { Resolver } from 'node:dns/promises';
import { ConsulDiscoverer } from './consul.ts';
import type { Discoverer } from './discoverer.ts';
import { DnsDiscoverer } from './dns.ts';
import { DockerDiscoverer } from './docker.ts';
import { FileDiscoverer } from './file.ts';
import { HttpDiscoverer } from './http.ts';
import { KubernetesDiscoverer } from './kubernetes/kubernetes.ts';
import type { DiscoverySection } from './sections.ts';

export function createDiscoverer(section: DiscoverySection): Discoverer {
  switch (section.mechanism) {
    case 'file':
      return new FileDiscoverer(section);
    case 'http':
      return new HttpDiscoverer(section);
    case 'dns':
      return new DnsDiscoverer(section, () => new Resolver({ timeout: 5000, tries: 2 }));
    case 'consul':
      return new ConsulDiscoverer(section);
    case 'kubernetes':
      return new KubernetesDiscoverer(section);
    case 'docker':
      return new DockerDiscoverer(section);
  }
}
