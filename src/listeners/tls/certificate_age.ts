/**
 * The age of the certificate that is served: a warning from 30 days before its end, every day until it is replaced.
 */
import * as Clock from "effect/Clock";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import type { LogWriter } from "../../logging/log.ts";
import type { Certificates } from "./certificate_files.ts";

/** Looks at once and every day, and never ends by itself; fork it under supervision. */
export function warnOfAge(
  served: () => Pick<Certificates, "subject" | "notAfterMs">,
  listener: string,
  log: LogWriter,
): Effect.Effect<never> {
  return Effect.map(Clock.currentTimeMillis, (nowMs) => {
    const certificates = served();
    if (certificates.notAfterMs > nowMs + WARNED_BEFORE_MS) return;
    const message = certificates.notAfterMs > nowMs ? "certificate expires soon" : "certificate has expired";
    log.write("warn", message, { listener, ...describeCertificates(certificates) });
  }).pipe(Effect.andThen(Effect.sleep(Duration.days(1))), Effect.forever);
}

/** Whose certificate it is and how long it lasts, as fields of a line. */
export function describeCertificates({ subject, notAfterMs }: Pick<Certificates, "subject" | "notAfterMs">) {
  return { subject, notAfter: new Date(notAfterMs).toISOString() };
}

const WARNED_BEFORE_MS = 30 * 86_400_000;
