/** Labels `__meta_kubernetes_*` of single objects, under the names that Prometheus gives them. */
import { labelName } from '../target-group.ts';
import type { Container, Node, ObjectMeta, Pod, Service } from './objects.ts';

export const PREFIX = '__meta_kubernetes_';

export type LabelMap = Map<string, string>;

/** `<role>_label_*`, `_labelpresent_*`, `_annotation_*`, `_annotationpresent_*`. */
export function addLabelsAndAnnotations(labels: LabelMap, meta: ObjectMeta, role: string): void {
  for (const [name, value] of meta.labels) {
    const fit = labelName(name);
    labels.set(`${PREFIX}${role}_label_${fit}`, value);
    labels.set(`${PREFIX}${role}_labelpresent_${fit}`, 'true');
  }
  for (const [name, value] of meta.annotations) {
    const fit = labelName(name);
    labels.set(`${PREFIX}${role}_annotation_${fit}`, value);
    labels.set(`${PREFIX}${role}_annotationpresent_${fit}`, 'true');
  }
}

export function addMeta(labels: LabelMap, meta: ObjectMeta, role: string): void {
  labels.set(`${PREFIX}${role}_name`, meta.name);
  addLabelsAndAnnotations(labels, meta, role);
}

/** Of a pod; its namespace is the group's. */
export function addPod(labels: LabelMap, pod: Pod): void {
  addMeta(labels, pod.meta, 'pod');
  labels.set(`${PREFIX}pod_ip`, pod.ip);
  labels.set(`${PREFIX}pod_ready`, pod.ready);
  labels.set(`${PREFIX}pod_phase`, pod.phase);
  labels.set(`${PREFIX}pod_node_name`, pod.nodeName);
  labels.set(`${PREFIX}pod_host_ip`, pod.hostIp);
  labels.set(`${PREFIX}pod_uid`, pod.meta.uid);
  if (pod.controller === null) return;
  if (pod.controller.kind !== '') labels.set(`${PREFIX}pod_controller_kind`, pod.controller.kind);
  if (pod.controller.name !== '') labels.set(`${PREFIX}pod_controller_name`, pod.controller.name);
}

export function addContainer(labels: LabelMap, container: Container): void {
  labels.set(`${PREFIX}pod_container_name`, container.name);
  labels.set(`${PREFIX}pod_container_id`, container.id);
  labels.set(`${PREFIX}pod_container_image`, container.image);
  labels.set(`${PREFIX}pod_container_init`, String(container.init));
}

export function addContainerPort(labels: LabelMap, port: Container['ports'][number]): void {
  labels.set(`${PREFIX}pod_container_port_name`, port.name);
  labels.set(`${PREFIX}pod_container_port_number`, String(port.number));
  labels.set(`${PREFIX}pod_container_port_protocol`, port.protocol);
}

export function addService(labels: LabelMap, service: Service): void {
  labels.set(`${PREFIX}namespace`, service.meta.namespace);
  addMeta(labels, service.meta, 'service');
}

export function addNode(labels: LabelMap, node: Node): void {
  addMeta(labels, node.meta, 'node');
}
