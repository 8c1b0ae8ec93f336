/**
 * The files of a TLS listener: what they must say before they are served, and the same question again when they change.
 *
 * Everything is checked that would otherwise show only in somebody's handshake: that all blocks are certificates, that
 * key and certificate belong together, that the TLS library takes them. A certificate that has expired is served with a
 * warning, because clients that do not look are better off than clients that find nobody.
 */
import * as Effect from "effect/Effect";
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { ListenerEntry } from "../../config/options/listener_entry.ts";
import { type FileUnreadable, readWatchedFile, type WatchedFile } from "../../system/watched_file.ts";
import { CertificateInvalid } from "../entry/errors.ts";
import { readClientCertificate } from "./certificate_names.ts";

/** What a TLS listener serves with. The key is in `options` and nowhere else. */
export interface Certificates {
  readonly options: { readonly cert: string; readonly key: string; readonly ca?: string };
  /** Certificates of the authorities that sign client certificates; empty when clients are not asked. */
  readonly authorities: readonly X509Certificate[];
  /** Distinguished Name of the listener's own certificate. */
  readonly subject: string;
  /** When that certificate expires, in milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/** The files of a listener, in the order in which `checkCertificates` takes their texts. */
export function certificateFilesOf(entry: ListenerEntry): readonly WatchedFile[] | CertificateInvalid {
  const { tlsCert, tlsKey, tlsCa } = entry;
  const invalid = (problem: string) => new CertificateInvalid({ listener: entry.name, problem });
  if (tlsCert === undefined) return invalid("no certificate is configured");
  if (tlsKey === undefined) return invalid("no key is configured");
  const own = [{ path: tlsCert, purpose: "TLS certificate" }, { path: tlsKey, purpose: "TLS key" }];
  if (entry.clientAuth === "none") return own;
  if (tlsCa === undefined) return invalid("client certificates are asked for and no authorities are configured");
  return [...own, { path: tlsCa, purpose: "TLS authorities" }];
}

/** Reads and checks the files. */
export const loadCertificates = Effect.fnUntraced(function* (
  entry: ListenerEntry,
): Effect.fn.Return<Certificates, CertificateInvalid | FileUnreadable> {
  const files = certificateFilesOf(entry);
  if (files instanceof CertificateInvalid) return yield* files;
  const checked = checkCertificates(entry, yield* Effect.forEach(files, readWatchedFile));
  return checked instanceof CertificateInvalid ? yield* checked : checked;
});

/** Checks what the files of a listener say; texts are in the order of `certificateFilesOf`. */
export function checkCertificates(entry: ListenerEntry, texts: readonly string[]): Certificates | CertificateInvalid {
  const invalid = (problem: string) => new CertificateInvalid({ listener: entry.name, problem });
  const [cert = "", key = "", ca] = texts;
  const chain = parseChain(cert);
  if (chain === undefined) return invalid(`${quote(entry.tlsCert)} has no certificate in PEM form, or a broken one`);
  const privateKey = parseKey(key);
  if (privateKey === undefined) {
    return invalid(`${quote(entry.tlsKey)} has no private key in PEM form, or one that is encrypted or broken`);
  }
  const own = chain[0]!;
  if (!matches(own, privateKey)) {
    return invalid(`the key in ${quote(entry.tlsKey)} is not that of the certificate in ${quote(entry.tlsCert)}`);
  }
  const authorities = ca === undefined ? [] : parseChain(ca);
  if (authorities === undefined) {
    return invalid(`${quote(entry.tlsCa)} has no certificate in PEM form, or a broken one`);
  }
  const options = { cert, key, ...(ca === undefined ? {} : { ca }) };
  try {
    createSecureContext(options);
  } catch (error) {
    return invalid(`certificate or key are refused (${firstLine(error)})`);
  }
  const subject = readClientCertificate(own.raw)?.subject ?? "";
  return { options, authorities, subject, notAfterMs: Date.parse(own.validTo) };
}

/** All certificates of a PEM file; undefined when one is broken or there is none. */
function parseChain(pem: string): readonly X509Certificate[] | undefined {
  const blocks = pem.match(CERTIFICATE_BLOCK);
  if (blocks === null || blocks.length !== pem.match(CERTIFICATE_BEGIN)?.length) return undefined;
  try {
    return blocks.map((block) => new X509Certificate(Buffer.from(block)));
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/** Says nothing of why not: the reason could show something of the key. */
function parseKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/** A kind of key that the runtime cannot compare is not the certificate's as far as it can be known. */
function matches(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.checkPrivateKey(key);
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}

function quote(path: string | undefined): string {
  return JSON.stringify(path ?? "");
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}

const CERTIFICATE_BEGIN = /-----BEGIN CERTIFICATE-----/g;
const CERTIFICATE_BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
