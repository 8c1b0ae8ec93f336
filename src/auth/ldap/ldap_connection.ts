/**
 * One connection to a directory: TCP, TLS before or after the first message, one question at a time.
 *
 *   open ── ldap:// ─────────────────────────────────────────▶ ready
 *     ├──── ldaps://: TLS ───────────────────────────────────▶ ready
 *     └──── ldap:// with StartTLS: request ─▶ success ─▶ TLS ▶ ready
 *
 * - A connection is opened once and never again: what was to be encrypted is never repeated in the clear.
 * - StartTLS ends the part that anyone could have written: bytes that came behind its answer, before TLS began, end the
 *   connection, or they would be taken for answers of the server. [RFC 4511, 4.14.1]
 * - The certificate of the server and its name are always verified.
 * - `destroy` ends everything at any time, which is how a server that does not answer is left.
 * - An answer and everything of one question together are bounded in bytes.
 *
 * Bytes are exchanged by promises here; `ldap_conversation.ts` makes effects of them and owns the connection.
 *
 * All methods reject with an Error, without secrets in its message, when the server does not do its part; the
 * connection is of no use then. A result code is an answer, whatever it says.
 */
import { elementLength, MalformedLdap, Tag } from "./ldap_ber.ts";
import {
  type Answer,
  AnswerTag,
  bindRequest,
  type Entry,
  readAnswer,
  ResultCode,
  type Search,
  searchRequest,
  startTlsRequest,
  unbindRequest,
} from "./ldap_messages.ts";

/** Where a directory is and how it is reached. */
export interface LdapTarget {
  readonly hostname: string;
  readonly port: number;
  /** `plain` only where the network is trusted. */
  readonly security: "plain" | "tls" | "starttls";
  /** Certificates in PEM that are trusted beside the runtime's own; undefined = only these. */
  readonly ca: string | undefined;
}

/** What a search found. */
export interface SearchOutcome {
  readonly code: number;
  /** At most `entriesMax`. */
  readonly entries: readonly Entry[];
}

/** See the head of this file. */
export class LdapConnection {
  #conn: Deno.Conn | undefined;
  #isDestroyed = false;
  #received: Uint8Array = new Uint8Array(0);
  #messageId = 0;
  #answerBytes = 0;

  /** Connects, with TLS if there is to be one. Called once, before all else. @param signal Gives up connecting. */
  async open(target: LdapTarget, signal: AbortSignal): Promise<void> {
    const { hostname, port } = target;
    const tcp = await Deno.connect({ hostname, port, signal });
    this.#own(tcp);
    tcp.setNoDelay(true);
    if (target.security === "starttls") await this.#requestTls();
    if (target.security !== "plain") await this.#beginTls(tcp, target);
  }

  /**
   * Proves a name by a password.
   *
   * The caller has made sure that neither is empty: a server takes a name without password, or a password without name,
   * for nobody in particular, and says success. [RFC 4513, 5.1.2]
   *
   * @returns Result code.
   */
  async bind(dn: string, password: Uint8Array): Promise<number> {
    if (dn === "" || password.length === 0) throw new Error("a bind without name or password was asked for");
    return await this.#ask(bindRequest(++this.#messageId, dn, password), AnswerTag.BIND);
  }

  /** Becomes nobody in particular again. @returns Result code. */
  async bindAnonymously(): Promise<number> {
    return await this.#ask(bindRequest(++this.#messageId, "", new Uint8Array(0)), AnswerTag.BIND);
  }

  /** Searches; more than `entriesMax` entries are told by the result code `SIZE_LIMIT_EXCEEDED`. */
  async search(search: Search): Promise<SearchOutcome> {
    const entries: Entry[] = [];
    let isOver = false;
    const code = await this.#ask(searchRequest(++this.#messageId, search), AnswerTag.SEARCH, (entry) => {
      // A server need not honour the limit of the request.
      if (entries.length < search.entriesMax) entries.push(entry);
      else isOver = true;
    });
    return { code: isOver ? ResultCode.SIZE_LIMIT_EXCEEDED : code, entries };
  }

  /** Says goodbye. */
  async unbind(): Promise<void> {
    await this.#write(unbindRequest(++this.#messageId));
  }

  /** Closes; whatever is under way rejects. */
  destroy(): void {
    this.#isDestroyed = true;
    try {
      this.#conn?.close();
    } catch {
      // Closed already, or handed over to TLS, which `#beginTls` closes.
    }
  }

  async #requestTls(): Promise<void> {
    const code = await this.#ask(startTlsRequest(++this.#messageId), AnswerTag.EXTENDED);
    if (code !== ResultCode.SUCCESS) throw new Error(`StartTLS was refused with result code ${code}`);
    if (this.#received.length > 0) throw new Error("there was data between the answer to StartTLS and TLS");
  }

  async #beginTls(tcp: Deno.TcpConn, { hostname, ca }: LdapTarget): Promise<void> {
    const tls = await Deno.startTls(tcp, { hostname, ...(ca === undefined ? {} : { caCerts: [ca] }) });
    this.#own(tls);
    await tls.handshake();
  }

  #own(conn: Deno.Conn): void {
    this.#conn = conn;
    if (this.#isDestroyed) this.destroy();
  }

  async #ask(request: Uint8Array, tag: number, onEntry?: (entry: Entry) => void): Promise<number> {
    const messageId = this.#messageId;
    this.#answerBytes = 0;
    await this.#write(request);
    // Ends: every answer counts towards the bound in bytes, and the connection is closed when its time is over.
    for (;;) {
      const answer = await this.#nextAnswer();
      if (answer.messageId === 0) throw new Error("the server ended the connection");
      if (answer.messageId !== messageId) throw new MalformedLdap("an answer is to no question");
      if (answer.kind === "entry") onEntry?.(answer.entry);
      if (answer.kind !== "result") continue;
      if (answer.tag !== tag) throw new MalformedLdap("an answer is to another question");
      return answer.code;
    }
  }

  async #nextAnswer(): Promise<Answer> {
    for (;;) {
      if (this.#received.length > 0 && this.#received[0] !== Tag.SEQUENCE) throw new MalformedLdap("it is no LDAP");
      const length = elementLength(this.#received);
      if (length !== undefined && length > ANSWER_BYTES_MAX) throw new Error("an answer is too long");
      if (length !== undefined && length <= this.#received.length) {
        const bytes = this.#received.subarray(0, length);
        this.#received = this.#received.subarray(length);
        this.#answerBytes += length;
        if (this.#answerBytes > ANSWER_BYTES_MAX) throw new Error("the answers to one question are too long");
        return readAnswer(bytes);
      }
      await this.#receive();
    }
  }

  /** Bounded, because nothing is received while a whole answer waits, and an answer is bounded. */
  async #receive(): Promise<void> {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const size = await this.#conn!.read(chunk);
    if (size === null) throw new Error("the connection was closed");
    const joined = new Uint8Array(this.#received.length + size);
    joined.set(this.#received);
    joined.set(chunk.subarray(0, size), this.#received.length);
    this.#received = joined;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn!.write(bytes.subarray(at));
  }
}

/** One answer, and all answers to one question: a thousand groups with long names are a tenth of it. Bytes. */
const ANSWER_BYTES_MAX = 1024 * 1024;
const CHUNK_BYTES = 16 * 1024;
