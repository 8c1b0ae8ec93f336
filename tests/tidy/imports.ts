/**
 * Which file may import which: the floors of `src`, the rooms inside its larger folders, and no circle anywhere.
 *
 * Imports are compared as paths; types count like values, because a reader follows both.
 */
import { importsOf, type MaskedSource } from "./source.ts";

/** Floors from the bottom; a folder imports only from lower ones. See docs/ARCHITECTURE.md. */
export const FLOORS: readonly (readonly string[])[] = [
  ["system"],
  ["config", "metrics", "logging"],
  ["protocol"],
  ["topics", "storage"],
  ["session", "auth", "hooks"],
  ["broker"],
  ["listeners", "admin", "cluster", "bridge"],
  // The entry points and the command line start each other, so the top floor is one unit.
  ["", "cli"],
];

/**
 * The rooms of a folder from the bottom; "" is what lies in the folder itself. A room imports from lower ones, and rooms
 * of one height do not know each other.
 */
export const ROOMS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  auth: [["identity"], ["backend"], ["acl"], ["guard", "http", "ldap", "password", "token"], [""]],
  cli: [["process"], ["crashtest", "user", "wal"], [""]],
  config: [["kinds"], ["options"], ["checks", "reading"], [""]],
  listeners: [["limits"], ["transport"], ["entry"], ["tls"], [""]],
  storage: [["model"], ["disk"], ["log"], ["checkpoint"], ["compaction", "recovery", "volatile"], [""]],
};

/** The manifest, read for the version number alone. */
const MANIFEST = "deno.json";
const MANIFEST_READER = "src/config/version.ts";

/** The files of the repository that a file imports, from its root. */
export function importedFiles(path: string, masked: MaskedSource): string[] {
  return importsOf(masked).filter((specifier) => specifier.startsWith("."))
    .map((specifier) => new URL(specifier, `file:///${path}`).pathname.slice(1));
}

/** What a file of `src` imports from where it may not. */
export function problemsOfFloors(path: string, masked: MaskedSource): string[] {
  const own = placeOf(path);
  const floor = floorOf(own.folder);
  if (floor === -1) return [`folder ${own.folder} has no floor`];
  const room = roomOf(own);
  if (room === -1) return [`room ${own.room} has no place in folder ${own.folder}`];
  return importedFiles(path, masked).flatMap((target) => {
    if (target === MANIFEST && path === MANIFEST_READER) return [];
    if (!target.startsWith("src/")) return [`imports ${target}, which is not part of the program`];
    const place = placeOf(target);
    if (place.folder === own.folder) {
      const isAllowed = place.room === own.room || roomOf(place) < room;
      return isAllowed ? [] : [`imports ${target}, room ${place.room} from room ${own.room}`];
    }
    const targetFloor = floorOf(place.folder);
    const isAllowed = targetFloor < floor || (targetFloor === floor && floor === FLOORS.length - 1);
    return targetFloor !== -1 && isAllowed ? [] : [`imports ${target}, floor ${targetFloor} from floor ${floor}`];
  });
}

interface Place {
  readonly folder: string;
  readonly room: string;
}

function placeOf(path: string): Place {
  const folders = path.split("/").slice(1, -1);
  return { folder: folders[0] ?? "", room: folders.slice(1).join("/") };
}

function floorOf(folder: string): number {
  return FLOORS.findIndex((folders) => folders.includes(folder));
}

function roomOf({ folder, room }: Place): number {
  return (ROOMS[folder] ?? [[""]]).findIndex((rooms) => rooms.includes(room));
}

/**
 * Circles among files: every file that can be reached from itself, with the way back to it.
 *
 * @param imports What each file imports; files that are not keys import nothing.
 * @returns One line for each circle, from its first file in the order of names; O(files × imports).
 */
export function circlesOf(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const told = new Set<string>();
  return [...imports.keys()].sort().flatMap((start) => {
    const way = told.has(start) ? undefined : wayBack(start, imports);
    if (way === undefined) return [];
    for (const file of way) told.add(file);
    return [`import circle: ${[...way, start].join(" → ")}`];
  });
}

/** The shortest way from a file to itself, which is the file and those between; undefined when there is none. */
function wayBack(start: string, imports: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const ways = new Map<string, readonly string[]>([[start, [start]]]);
  for (const [file, way] of ways) {
    for (const target of imports.get(file) ?? []) {
      if (target === start) return way;
      if (!ways.has(target)) ways.set(target, [...way, target]);
    }
  }
  return undefined;
}
