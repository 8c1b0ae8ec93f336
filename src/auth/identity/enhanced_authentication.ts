/**
 * Enhanced authentication: a challenge and response exchange in AUTH packets. [MQTT 5.0, 4.12]
 *
 *   IDLE ──start──▶ WAITING ──step: success──▶ DONE
 *                     │  ▲
 *                     │  └── step: continue (the broker sent AUTH 0x18, the client answers AUTH 0x18)
 *                     └── step: failure ──▶ DONE
 *
 * One `AuthenticationExchange` runs at CONNECT; the same method is used for every re-authentication of the connection,
 * each with an exchange of its own. The port knows no packets: data in, step out.
 */
import type { Identity } from "./identity.ts";

/** What an exchange does next. */
export type ExchangeStep =
  | { readonly kind: "continue"; readonly data: Uint8Array }
  | { readonly kind: "success"; readonly data: Uint8Array | undefined; readonly identity: Identity }
  | {
    readonly kind: "failure";
    /** For the client. */
    readonly reasonCode: number;
    /** For counter and log, in snake_case; never told to the client. */
    readonly reason: string;
  };

/** Conversation with one client. Never throws and never rejects. */
export interface Conversation {
  /** @param data Authentication Data of the client's packet, if it had any. */
  next(data: Uint8Array | undefined): ExchangeStep | Promise<ExchangeStep>;
}

/** One authentication method, e.g. SCRAM-SHA-256. */
export interface EnhancedAuthenticator {
  /** Authentication Method as in CONNECT. */
  readonly method: string;
  /** Starts a conversation; `next` follows with the data of CONNECT or of the re-authenticating AUTH. */
  begin(clientId: string): Conversation;
}

/** State of one exchange. */
export class AuthenticationExchange {
  #conversation: Conversation | undefined = undefined;
  #isBusy = false;
  readonly #authenticator: EnhancedAuthenticator;
  readonly #clientId: string;

  constructor(authenticator: EnhancedAuthenticator, clientId: string) {
    this.#authenticator = authenticator;
    this.#clientId = clientId;
  }

  /** Authentication Method that every AUTH of this connection must name. [MQTT-4.12.0-5] */
  get method(): string {
    return this.#authenticator.method;
  }

  /** True while an answer of the client is awaited. */
  get isWaiting(): boolean {
    return this.#conversation !== undefined && !this.#isBusy;
  }

  /** True from `start` to the final step. */
  get isRunning(): boolean {
    return this.#conversation !== undefined;
  }

  /**
   * Starts the conversation over.
   *
   * @param data Authentication Data of CONNECT or AUTH 0x19.
   */
  start(data: Uint8Array | undefined, done: (step: ExchangeStep) => void): void {
    this.#conversation = this.#authenticator.begin(this.#clientId);
    this.#advance(this.#conversation, data, done);
  }

  /**
   * Goes on with the client's answer. `isWaiting` must be true.
   *
   * @param data Authentication Data of AUTH 0x18.
   */
  answer(data: Uint8Array | undefined, done: (step: ExchangeStep) => void): void {
    this.#advance(this.#conversation!, data, done);
  }

  #advance(conversation: Conversation, data: Uint8Array | undefined, done: (step: ExchangeStep) => void): void {
    const finish = (step: ExchangeStep) => {
      this.#isBusy = false;
      if (step.kind !== "continue") this.#conversation = undefined;
      done(step);
    };
    const step = conversation.next(data);
    if (step instanceof Promise) {
      this.#isBusy = true;
      step.then(finish);
    } else finish(step);
  }
}
