/**
 * `%u` and `%c` in the topics of a rule: the username and the Client Identifier of the client that asks.
 *
 * A placeholder is a whole level and its value one too. A name that is empty, has a slash or a wildcard in it, or
 * begins with `$` would say more than its own level: a user `+` would be permitted the topics of all. A topic filter
 * with a placeholder of such a name does not apply to the client at all.
 */

/** The values of the placeholders; undefined = topic filters that name it do not apply. */
export interface PlaceholderValues {
  readonly userLevel: string | undefined;
  readonly clientLevel: string | undefined;
}

/** Level that stands for the username. */
export const USER_PLACEHOLDER = "%u";
/** Level that stands for the Client Identifier. */
export const CLIENT_PLACEHOLDER = "%c";

/** Makes the values for one client. */
export function placeholderValues(username: string | undefined, clientId: string): PlaceholderValues {
  return { userLevel: asLevel(username), clientLevel: asLevel(clientId) };
}

/** True when a topic of a rule is not the same for all clients. */
export function hasPlaceholder(topic: string): boolean {
  return topic.split("/").some((level) => level === USER_PLACEHOLDER || level === CLIENT_PLACEHOLDER);
}

/**
 * Puts the values in. Every level is replaced once: a user `%c` stays `%c`.
 *
 * @returns The Topic Filter, or undefined when it does not apply to this client.
 */
export function resolvePlaceholders(topic: string, values: PlaceholderValues): string | undefined {
  const levels = topic.split("/");
  for (let index = 0; index < levels.length; index++) {
    const level = levels[index];
    if (level !== USER_PLACEHOLDER && level !== CLIENT_PLACEHOLDER) continue;
    const value = level === USER_PLACEHOLDER ? values.userLevel : values.clientLevel;
    if (value === undefined) return undefined;
    levels[index] = value;
  }
  return levels.join("/");
}

function asLevel(name: string | undefined): string | undefined {
  return name === undefined || name === "" || name.startsWith("$") || /[/+#]/.test(name) ? undefined : name;
}
