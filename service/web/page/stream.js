// One stream of the server, over as many connections as it takes: the same protocol, and the same
// way of going on after a lost connection, as the Python client's (service/client/conversation.py).
//
// With each final result the server says from where another connection gives the same results from
// there on, and how much of that audio is heard for context only; after long silence that is where
// the silence event is. The final of a server that shuts down is held back, for another server is
// told the whole utterance.

const SAME_TIME = 1e-5; // times travel in microseconds
const SAID = 8; // finals that go along as context
const PATIENCE = 60; // seconds without an answer, once there was one
const PATIENCE_AT_START = 2;
const FIRST_WAIT = 0.1;
const LONGEST_WAIT = 5;
const MOST_BUFFERED = 262144;
const LONGEST_PIECE = 65536;

const UNAVAILABLE = 14;
const RESOURCE_EXHAUSTED = 8;

export class StreamError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // gRPC's name, or "AWAY" if no server answers
  }
}

// The recording cannot be read any more.
export class SourceError extends Error {}

export const seconds = (duration) => (duration ? Number.parseFloat(duration) : 0);

export class Stream {
  #told = 0; // end of the last final that was told
  #origin = 0; // where the audio of this connection begins
  #until = -Infinity; // results up to here come again
  #utterance = 0; // start of the present utterance
  #start = 0; // where a connection can begin
  #context = 0; // seconds after that which are for its context
  #said = [];
  #held = null;
  #begun = false;
  #answered = false;
  #failingSince = null;
  #failures = 0;
  #full = 0; // processes of the server that had no room, one after the other
  #model = null; // that answers
  #left = false;
  #socket = null;

  // on: { partial(result), final(result), progress(seconds), sent(bytes), lost(seconds), back() }
  constructor(audio, settings, token, on) {
    this.audio = audio;
    this.settings = settings;
    this.token = token;
    this.on = on;
  }

  // Send the audio and tell the results until the last; throws a StreamError or a SourceError.
  async run() {
    for (;;) {
      const { code, error, failure } = await this.#connection();
      if (failure && !this.#left) throw new SourceError(failure.message, { cause: failure });
      if (this.#left || code === 1000) return;
      const wait = this.#waitAfter(code, error);
      if (wait === null) {
        if (this.#held) this.on.final(this.#held);
        throw new StreamError(error?.status ?? "AWAY", error?.message ?? "");
      }
      this.on.lost(this.#told);
      await new Promise((resolve) => { setTimeout(resolve, 1000 * wait); });
      if (this.#left) return;
    }
  }

  // Give up what has not been answered.
  leave() {
    this.#left = true;
    this.#socket?.close();
  }

  #connection() {
    const address = new URL("v1/stream", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    // Browsers refuse others, and their message shows them on the screen.
    if (!/^[\w!#$%&'*+.^`|~-]*$/.test(this.token)) {
      throw new StreamError("UNAUTHENTICATED", "the token has letters that no token has");
    }
    const protocols = ["ossicle.v1", ...(this.token ? [`bearer.${this.token}`] : [])];
    return new Promise((resolve) => {
      const socket = new WebSocket(address, protocols);
      this.#socket = socket;
      this.#answered = false;
      let error = null;
      let failure = null;
      socket.onopen = () => this.#send(socket).catch((reason) => {
        failure = reason;
        socket.close();
      });
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.error) error = message.error;
        else if (socket === this.#socket) this.#receive(message);
      };
      socket.onclose = ({ code }) => {
        this.audio.wake();
        resolve({ code, error, failure });
      };
    });
  }

  async #send(socket) {
    const isOpen = () => socket.readyState === WebSocket.OPEN;
    const origin = this.#begin();
    socket.send(JSON.stringify({ streamingConfig: this.#opening() }));
    let position = Math.round(origin * this.audio.bytesPerSecond);
    for (;;) {
      const bytes = await this.audio.read(position, isOpen);
      // What was to be sent next was dropped: another connection begins with what is left.
      if (this.audio.bytesPerSecond && position < this.audio.start) socket.close();
      while (isOpen() && socket.bufferedAmount > MOST_BUFFERED) {
        await new Promise((resolve) => { setTimeout(resolve, 20); });
      }
      if (!isOpen()) return;
      if (bytes === null) {
        socket.send('{"endOfAudio": {}}');
        return;
      }
      for (let at = 0; at < bytes.length; at += LONGEST_PIECE) {
        socket.send(bytes.subarray(at, at + LONGEST_PIECE));
      }
      position += bytes.length;
      this.on.sent(position);
    }
  }

  // Where this connection begins.
  #begin() {
    // If the server was away for so long that audio was dropped, what is left is better than none.
    const kept = this.audio.bytesPerSecond ? this.audio.start / this.audio.bytesPerSecond : 0;
    this.#origin = Math.max(this.#start, kept);
    if (this.#origin > this.#start) this.#context = 0;
    this.#utterance = this.#origin + this.#context;
    this.#until = this.#told - SAME_TIME > this.#utterance ? this.#told : -Infinity;
    return this.#origin;
  }

  #opening() {
    return {
      config: {
        ...this.audio.config,
        ...this.settings,
        ...(this.#model ? { model: this.#model } : {}),
        enableWordTimeOffsets: true,
        enableWordConfidence: true,
      },
      interimResults: true,
      enableSilenceEvents: true,
      previousTranscripts: this.#said,
      ...(this.#context ? { context: `${this.#context.toFixed(6)}s` } : {}),
    };
  }

  #receive(response) {
    const later = (duration) => seconds(duration) + this.#origin;
    if (!this.#answered) {
      this.#answered = true;
      if (this.#begun) this.on.back();
      this.#begun = true;
    }
    this.#failingSince = null;
    this.#full = 0;
    if (response.modelVersion) this.#model = response.modelVersion.name;
    this.on.progress(later(response.audioProcessed));
    if (response.speechEventType === "SPEECH_EVENT_TYPE_SILENCE") {
      const offset = later(response.speechEventOffset);
      this.#utterance = offset;
      if (offset > this.#told) this.#startAt(offset);
    }
    for (const message of response.results ?? []) {
      const [best] = message.alternatives;
      const result = {
        text: best.transcript ?? "",
        end: later(message.resultEndOffset),
        words: (best.words ?? []).map((word) => ({
          word: word.word,
          start: later(word.startOffset),
          end: later(word.endOffset),
          confidence: word.confidence ?? 0,
        })),
      };
      if (message.isFinal) this.#final(result, message.utteranceEnd, later(message.resumeOffset));
      else if (result.end - SAME_TIME > this.#until) this.on.partial(result);
    }
  }

  #final(result, reason, resume) {
    if (reason === "UTTERANCE_END_INTERRUPTED") {
      // One that goes away while it catches up has heard less than the one before.
      if (!this.#held || result.end >= this.#held.end) this.#held = result;
      return;
    }
    const start = this.#utterance;
    this.#utterance = result.end;
    // Another server may cut a little earlier or later; the middle tells which utterance it is.
    const requested = reason === "UTTERANCE_END_END_OF_AUDIO";
    if (!requested && (start + result.end) / 2 <= this.#until) return;
    this.#held = null;
    this.#failures = 0;
    this.#told = Math.max(this.#told, result.end);
    this.#startAt(resume, result.end - resume, result.text);
    this.on.final(result);
  }

  #startAt(offset, context = 0, said = "") {
    if (!this.audio.bytesPerSecond) return;
    if (said) this.#said = [...this.#said, said].slice(-SAID);
    this.#start = offset;
    this.#context = context;
    this.audio.forget(Math.round(offset * this.audio.bytesPerSecond));
  }

  // Seconds until the next attempt; null if there should be none.
  #waitAfter(code, error) {
    const busy = error?.code === RESOURCE_EXHAUSTED;
    const passing = !error || error.code === UNAVAILABLE;
    const details = error?.details ?? [];
    // A server of several processes gives each connection to one of them, by chance.
    const full = details.find(({ reason }) => reason === "PROCESS_FULL");
    if (full) {
      this.#full += 1;
      if (this.#full < 4 * Number(full.metadata.processes)) return 0;
      this.#full = 0;
    }
    if (!(passing || busy) || (busy && !this.#begun)) return null;
    const now = performance.now() / 1000;
    this.#failingSince ??= now;
    this.#failures += 1;
    let wait = Math.min(FIRST_WAIT * 2 ** (this.#failures - 1), LONGEST_WAIT);
    wait *= 0.5 + Math.random();
    for (const detail of details) wait = Math.max(wait, seconds(detail.retryDelay));
    const patience = this.#begun ? PATIENCE : PATIENCE_AT_START;
    return now + wait - this.#failingSince > patience ? null : wait;
  }
}
