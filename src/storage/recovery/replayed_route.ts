/**
 * A ROUTE record made ready for replaying the messages that name it: Sessions and groups instead of their numbers and
 * names.
 */
import type { Route } from "../model/stored.ts";
import type { RoutedGroup } from "./replayed_group.ts";
import type { ReplayedGroups, SharedGrant } from "./replayed_groups.ts";
import type { ReplayedSession } from "./replayed_session.ts";

/** What a recorded Session gets of a route. */
export interface ReplayedReceiver extends SharedGrant {
  readonly session: ReplayedSession;
  /** What it gets of its own messages; undefined = the same. */
  readonly local: SharedGrant | null | undefined;
}

/** See the head of this file. */
export class ReplayedRoute {
  readonly receivers: readonly ReplayedReceiver[];
  readonly groups: readonly RoutedGroup[];

  constructor(route: Route, sessionOf: (number: number) => ReplayedSession, groups: ReplayedGroups) {
    this.receivers = route.receivers.map(({ session, qos, retainAsPublished, identifiers, local }) => ({
      session: sessionOf(session),
      qos,
      retainAsPublished,
      identifiers,
      local,
    }));
    this.groups = route.groups.map(({ name, filter }, index) => ({
      group: groups.group(name, filter),
      owed: { ordinal: index + 1, name, filter },
    }));
  }
}
