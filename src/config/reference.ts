/**
 * The schema as text for people: the reference of all options, and the configuration in force.
 */

import type { IndexedOption, OptionIndex, SectionRecord } from "./kinds/option.ts";
import type { Origin } from "./reading/decode.ts";

/**
 * The reference of every option in Markdown, the content of docs/configuration.md.
 *
 * Headings, paragraphs and lists in the form that `deno fmt` leaves as it is.
 */
export function renderReference(index: OptionIndex): string {
  const parts = [REFERENCE_INTRODUCTION];
  let section = "";
  for (const option of index.options) {
    const ownSection = option.key.replace(/\..*/, "");
    if (ownSection !== section) {
      section = ownSection;
      parts.push(`## ${section}`);
    }
    parts.push(renderOption(option));
    for (const entry of option.entries?.options ?? []) parts.push(renderEntryOption(option, entry));
  }
  return `${parts.join("\n\n")}\n`;
}

/** What `config show` writes in place of the value of a secret option. */
export const REDACTED = "<redacted>";

/**
 * The values in force as lines of a configuration file, one `key: value` per option, and one per key of a section that is
 * in a list.
 *
 * @param options.isOriginShown Adds where each value came from as a comment.
 */
export function renderValues(
  origins: readonly Origin[],
  options: { readonly isOriginShown: boolean },
): string {
  const lines = origins.map(linesOf);
  if (!options.isOriginShown) return `${lines.flat().join("\n")}\n`;
  const width = Math.max(0, ...lines.flat().map((line) => line.length));
  return origins.flatMap(({ place }, position) => {
    const [first = "", ...rest] = lines[position] ?? [];
    return [`${first.padEnd(width)} # ${place}\n`, ...rest.map((line) => `${line}\n`)];
  }).join("");
}

function linesOf({ option, text }: Origin): readonly string[] {
  if (option.isSecret) return [`${option.key}: ${REDACTED}`];
  if (option.entries === undefined) return [`${option.key}: ${quoteScalar(text)}`];
  const records = JSON.parse(text) as readonly SectionRecord[];
  if (records.length === 0) return [`${option.key}: []`];
  const items = records.flatMap((record) =>
    Object.entries(record).map(([key, value], at) => `${at === 0 ? "  - " : "    "}${key}: ${quoteScalar(value)}`)
  );
  return [`${option.key}:`, ...items];
}

const REFERENCE_INTRODUCTION = `# Configuration

<!-- Written by \`promptmq config docs\` from the option schema; change the schema, not this file. -->

A value is taken from the first of these that has it: command line flag, environment variable, configuration file,
default. The file is YAML or JSON: the one given with \`--config\`, or else the first that exists of \`./promptmq.yaml\`,
\`./.promptmq.yaml\` and \`$HOME/.promptmq.yaml\`. The dots of a key are nesting, so \`mqtt.max-qos\` is written

\`\`\`yaml
mqtt:
  max-qos: 1
\`\`\`

and \`max_qos\` is read as well. Durations are written like \`100ms\`, \`30s\`, \`5m\` or \`2h\`, sizes like \`65536\`, \`64KiB\` or
\`100MB\`, switches as \`true\` or \`false\`, lists as words separated by commas or as a list of YAML.

No option holds a secret: passwords, tokens and keys are in files, and an option names the file. Whoever may read the
configuration, the command line or the output of \`promptmq config show\` learns none of them.

Unknown keys, wrong values and values that contradict each other are errors, all reported at once with exit code 78;
\`promptmq config check\` reports them without starting the broker, and \`promptmq config show --origin\` tells where each
value comes from.

On SIGHUP the sources are read again: _live_ options change at once, _restart_ options are named in a warning and keep
their value until the broker is started again.`;

function renderOption(option: IndexedOption): string {
  const flag = `--${option.flagName}${option.type.metavar === undefined ? "" : ` <${option.type.metavar}>`}`;
  const facts = [
    defaultFact(option),
    `- Flag \`${flag}\`, environment \`${option.envName}\``,
    `- Change: ${option.reload}`,
  ];
  if (option.aliases !== undefined) {
    facts.push(`- Also written: ${option.aliases.map((key) => `\`${key}\``).join(", ")}`);
  }
  const example = option.example === undefined ? "" : `\n\n\`\`\`yaml\n${option.example}\n\`\`\``;
  return renderEntry(option.key, option.doc, facts) + example;
}

function renderEntryOption(list: IndexedOption, option: IndexedOption): string {
  const fact = option.isRequired === true ? `- Required, takes ${option.type.expected}` : defaultFact(option);
  return renderEntry(`${list.key}[].${option.key}`, option.doc, [fact]);
}

function defaultFact({ defaultText, type }: IndexedOption): string {
  return `- Default: \`${defaultText === "" ? '""' : defaultText}\`, takes ${type.expected}`;
}

function renderEntry(key: string, doc: string, facts: readonly string[]): string {
  return `### \`${key}\`\n\n${wrap(doc, "")}\n\n${facts.map((fact) => wrap(fact, "  ")).join("\n")}`;
}

/** Breaks lines where a Markdown formatter with this width would. */
function wrap(text: string, indent: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > REFERENCE_WIDTH) {
      lines.push(line);
      line = indent + word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join("\n");
}

const REFERENCE_WIDTH = 120;

/** Plain where YAML reads the text back as it is, quoted otherwise. */
function quoteScalar(text: string): string {
  const isPlain = /^[\w./][\w./:-]*$/.test(text) && !text.endsWith(":") && !/^null$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}
