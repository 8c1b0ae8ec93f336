/**
 * The options of who may connect and what they may do.
 *
 * No option holds a secret: passwords, tokens and keys are in files, and an option names the file. Whether the options
 * fit each other is judged by `auth_consistency.ts`.
 */

import { wordList } from "../kinds/list_types.ts";
import { option } from "../kinds/option.ts";
import { boolean, durationMs, integer, oneOf, optionalPath } from "../kinds/value_types.ts";
import { backends } from "./auth_backend_options.ts";

const HOUR_MS = 3_600_000;

/** Options of section `auth`. */
export const auth = {
  allowAnonymous: option({
    key: "auth.allow-anonymous",
    type: oneOf(true, false, "loopback"),
    defaultText: "loopback",
    reload: "live",
    flag: "allow-anonymous",
    doc:
      "Who may connect without credentials: everyone, nobody, or with `loopback` only peers on this host. A listener " +
      "may have its own rule.",
  }),
  chain: option({
    key: "auth.chain",
    type: wordList("certificate", "password-file", "jwt", "ldap", "http"),
    defaultText: "certificate,jwt,password-file,ldap,http",
    reload: "restart",
    doc:
      "The order in which the identity providers that are configured are asked about a client. The first that knows it " +
      "decides; a backend that gives no answer refuses it.",
  }),
  passwordFile: option({
    key: "auth.password-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    flag: "password-file",
    doc:
      "File with users and hashes of their passwords, made with `promptmq user add`. Its content is taken over when it " +
      "changes.",
  }),
  certificate: {
    username: option({
      key: "auth.certificate.username",
      type: oneOf("none", "cn", "subject", "san"),
      defaultText: "cn",
      reload: "restart",
      doc:
        "Which part of a client certificate is the username: the Common Name, the whole subject, the first Subject " +
        "Alternative Name, or with `none` no part, so that a certificate opens the connection and proves no name.",
    }),
  },
  ...backends,
  aclFile: option({
    key: "auth.acl-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    flag: "acl-file",
    doc:
      "File with the rules that say who may publish and subscribe to what. Its content is taken over when it changes. " +
      "Without rules from anywhere everything is allowed to whoever is connected.",
  }),
  recheckOnDeliver: option({
    key: "auth.recheck-on-deliver",
    type: boolean(),
    defaultText: "false",
    reload: "live",
    doc: "Whether the rules are asked for every message that is delivered, and not only when a client subscribes.",
  }),
  banFile: option({
    key: "auth.ban-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc:
      "File with Client Identifiers, usernames and addresses that are refused. Its content is taken over when it changes.",
  }),
  failureDelayMs: option({
    key: "auth.failure-delay",
    type: durationMs({ min: 0, max: HOUR_MS }),
    defaultText: "250ms",
    reload: "live",
    doc:
      "How long the answer to the first failed attempt after `auth.failures-free` from one address is held back; it " +
      "doubles with every further one. 0 = never.",
  }),
  failureDelayMaxMs: option({
    key: "auth.failure-delay-max",
    type: durationMs({ min: 0, max: HOUR_MS }),
    defaultText: "10s",
    reload: "live",
    doc: "Longest time an answer is held back because of failed attempts.",
  }),
  failuresFree: option({
    key: "auth.failures-free",
    type: integer({ min: 0, max: 1000 }),
    defaultText: "3",
    reload: "live",
    doc: "Failed attempts from one address that are answered at once.",
  }),
};
