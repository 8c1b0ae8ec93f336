/**
 * Numbers that must not be taken for one another. A position, a Session number and a Packet Identifier stand side by side
 * in many parameter lists, and exactly once depends on their order: each is a type of its own.
 */
declare const MEANING: unique symbol;

/**
 * A number with a meaning, which one with another meaning cannot stand in for. A number without any can: a literal, a sum,
 * what was read from bytes. Costs nothing at run time.
 */
export type DistinctNumber<Meaning extends string> = number & { readonly [MEANING]?: Meaning };

/** Packet Identifier from 1 to 65535; 0 = none. [MQTT 5.0, 2.2.1] */
export type PacketId = DistinctNumber<"Packet Identifier">;
