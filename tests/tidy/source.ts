/**
 * One TypeScript source text split into code, strings and comments, without a parser.
 *
 * `maskSource` walks the text once and writes it three times with the same length and the same line breaks, so that
 * an offset means the same place in each:
 *  - `code`: comments, string contents and regular expressions are blanks; what is left is syntax;
 *  - `statements`: only comments are blanks, for import specifiers;
 *  - `comments`: everything but comments is blanks.
 *
 * Whether `/` starts a regular expression is decided by the character before it, which is right for formatted code.
 */

/** The three views of a source text; all have its length. */
export interface MaskedSource {
  readonly code: string;
  readonly statements: string;
  readonly comments: string;
}

/** A block in braces with what introduces it. */
export interface Block {
  /** Code in front of the opening brace, back to the end of the previous statement or block. */
  readonly header: string;
  /** 1-based line of the opening brace. */
  readonly line: number;
  /** Lines from the opening to the closing brace, both counted. */
  readonly lineCount: number;
}

type Kind = "code" | "string" | "comment";

/** Splits a source text. O(length). */
export function maskSource(text: string): MaskedSource {
  const kinds = new Array<Kind>(text.length).fill("code");
  const mark = (from: number, to: number, kind: Kind) => kinds.fill(kind, from, to);
  /** Brace depth at which each open `${` ends. */
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  const template = (from: number) => {
    const end = endOfTemplateText(text, from);
    mark(from, end, "string");
    if (text.startsWith("${", end - 2)) templates.push(depth);
    at = end;
  };
  while (at < text.length) {
    const char = text[at]!;
    const end = char === "/" ? endOfSlash(text, at, kinds) : undefined;
    if (end !== undefined) {
      mark(at, end.at, end.kind);
      at = end.at;
    } else if (char === '"' || char === "'") {
      const close = endOfString(text, at);
      mark(at + 1, close - 1, "string");
      at = close;
    } else if (char === "`") {
      template(at + 1);
    } else if (char === "}" && templates.at(-1) === depth) {
      templates.pop();
      mark(at, at + 1, "string");
      template(at + 1);
    } else {
      if (char === "{") depth++;
      if (char === "}") depth--;
      at++;
    }
  }
  const view = (keep: (kind: Kind) => boolean) =>
    Array.from(kinds, (kind, i) => keep(kind) || text[i] === "\n" ? text[i] : " ").join("");
  return {
    code: view((kind) => kind === "code"),
    statements: view((kind) => kind !== "comment"),
    comments: view((kind) => kind === "comment"),
  };
}

/** The module specifiers a source imports or re-exports, static and dynamic, types included. */
export function importsOf(source: MaskedSource): string[] {
  const pattern = /(?:\bfrom|\bimport)\s*\(?\s*(["'])(.*?)\1/g;
  return [...source.statements.matchAll(pattern)]
    .filter((match) => source.code.startsWith(match[0].slice(0, 4), match.index))
    .map((match) => match[2]!);
}

/** Every block in braces of `MaskedSource.code`, inner ones too, in the order they close. */
export function blocksOf(code: string): Block[] {
  const blocks: Block[] = [];
  const opened: number[] = [];
  for (let at = 0; at < code.length; at++) {
    if (code[at] === "{") opened.push(at);
    if (code[at] !== "}") continue;
    const open = opened.pop();
    if (open === undefined) continue;
    blocks.push({
      header: headerBefore(code, open),
      line: lineAt(code, open),
      lineCount: lineAt(code, at) - lineAt(code, open) + 1,
    });
  }
  return blocks;
}

/** 1-based line of an offset. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** Where a comment or regular expression that starts at `at` ends; undefined when the slash divides. */
function endOfSlash(text: string, at: number, kinds: readonly Kind[]): { at: number; kind: Kind } | undefined {
  if (text[at + 1] === "/") return { at: orEnd(text, text.indexOf("\n", at)), kind: "comment" };
  if (text[at + 1] === "*") {
    const close = text.indexOf("*/", at + 2);
    return { at: close === -1 ? text.length : close + 2, kind: "comment" };
  }
  let before = at - 1;
  while (before >= 0 && (kinds[before] === "comment" || /\s/.test(text[before]!))) before--;
  const startsExpression = before < 0 || "(,=:[!&|?{};+-*%<>~^".includes(text[before]!) ||
    /\b(?:return|typeof|case|in|of|void)$/.test(text.slice(Math.max(0, before - 9), before + 1));
  if (!startsExpression) return undefined;
  let inClass = false;
  for (let i = at + 1; i < text.length && text[i] !== "\n"; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "[") inClass = true;
    else if (text[i] === "]") inClass = false;
    else if (text[i] === "/" && !inClass) return { at: i + 1, kind: "string" };
  }
  return undefined;
}

function endOfString(text: string, at: number): number {
  let i = at + 1;
  while (i < text.length && text[i] !== text[at] && text[i] !== "\n") i += text[i] === "\\" ? 2 : 1;
  return Math.min(i + 1, text.length);
}

/** End of the text part of a template that begins at `from`: behind the closing backquote or behind `${`. */
function endOfTemplateText(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "`") return i + 1;
    else if (text.startsWith("${", i)) return i + 2;
  }
  return text.length;
}

function orEnd(text: string, index: number): number {
  return index === -1 ? text.length : index;
}

/** Walks back from an opening brace; braces of a type or parameter in between belong to the header. */
function headerBefore(code: string, open: number): string {
  let at = open - 1;
  while (at >= 0) {
    const char = code[at];
    if (char === ";" || char === "{") break;
    if (char === "}") {
      const following = code.slice(at + 1, open).trimStart();
      if (following !== "" && !">|&[),:".includes(following[0]!)) break;
      at = openingOf(code, at);
    }
    at--;
  }
  return code.slice(at + 1, open).trim();
}

/** Offset of the brace that the one at `close` matches, or 0. */
function openingOf(code: string, close: number): number {
  let depth = 0;
  for (let at = close; at >= 0; at--) {
    if (code[at] === "}") depth++;
    if (code[at] === "{" && --depth === 0) return at;
  }
  return 0;
}
