/**
 * Takes out of node_modules what the program does not load: the packages that only the page is built from, and the Node.js that
 * comes with the package. Follows the dependencies of what src/ imports, through the lock file; what is not reached goes.
 * Run in the folder of the package, after `npm prune --omit=dev`. `--dry-run` names what would stay, and removes nothing.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
const ours = new Set(Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies));

/** Packages that the sources name. */
function imported() {
  const names = new Set();
  for (const entry of readdirSync('src', { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
    for (const [, from] of text.matchAll(/(?:from|import\()\s*'([^'.][^']*)'/g)) {
      const name = from
        .split('/')
        .slice(0, from.startsWith('@') ? 2 : 1)
        .join('/');
      if (ours.has(name)) names.add(name);
    }
  }
  return names;
}

/** Where Node finds a package that is asked for in a folder of the lock file. */
function find(name, from) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const at = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (lock[at] !== undefined) return at;
    if (folder === '' || !folder.includes('node_modules/')) return folder === '' ? null : find(name, '');
  }
}

const needed = new Set();
function need(name, from) {
  const at = find(name, from);
  if (at === null || needed.has(at)) return;
  needed.add(at);
  const { dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = lock[at];
  for (const other of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) need(other, at);
}
for (const name of imported()) need(name, '');

if (process.argv.includes('--dry-run')) {
  for (const at of [...needed].sort()) console.log(`keep ${at}`);
  process.exit(0);
}
let removed = 0;
// The deepest first, so that a package goes together with what is in it only where all of that goes.
for (const at of Object.keys(lock).sort((a, b) => b.length - a.length)) {
  const inside = [...needed].some(other => other === at || other.startsWith(`${at}/`));
  if (at === '' || inside) continue;
  rmSync(at, { recursive: true, force: true });
  removed++;
}
for (const entry of readdirSync('node_modules')) {
  if (entry.startsWith('@') && readdirSync(join('node_modules', entry)).length === 0)
    rmSync(join('node_modules', entry), { recursive: true });
}
rmSync('node_modules/.bin', { recursive: true, force: true });
rmSync('node_modules/.cache', { recursive: true, force: true });
console.log(`kept ${needed.size} packages, removed ${removed}`);
