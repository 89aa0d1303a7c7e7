// What is sent: the microphone, of which the end is kept for another connection, or a file.

export const RATE = 16000;
const SAMPLE_BYTES = 2;
const FILE_CHUNK = 65536;
// A quarter of an hour of a server that is away.
const MOST_KEPT = 32 * 1024 * 1024;

// Bytes as they come, which can be read again from any place that was not forgotten.
export class LiveAudio {
  config = { encoding: "AUDIO_ENCODING_LINEAR16", sampleRateHertz: RATE };
  bytesPerSecond = RATE * SAMPLE_BYTES;
  start = 0; // position of the first byte that is kept
  end = 0;
  #chunks = [];
  #ended = false;
  #waiting = [];

  push(samples) {
    const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
    this.#chunks.push({ position: this.end, bytes });
    this.end += bytes.length;
    while (this.end - this.start > MOST_KEPT) this.#dropFirst();
    this.wake();
  }

  finish() {
    this.#ended = true;
    this.wake();
  }

  // The bytes from a position on, or null at the end; waits for them while they are wanted.
  async read(position, wanted) {
    while (position >= this.end && !this.#ended && wanted()) {
      await new Promise((resolve) => { this.#waiting.push(resolve); });
    }
    if (position >= this.end) return null;
    let low = 0; // the last chunk that does not begin after the position
    for (let high = this.#chunks.length - 1; low < high;) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#chunks[middle].position <= position) low = middle;
      else high = middle - 1;
    }
    const { position: at, bytes } = this.#chunks[low];
    return bytes.subarray(Math.max(0, position - at));
  }

  forget(position) {
    while (this.#chunks.length && this.#chunks[0].position + this.#chunks[0].bytes.length <= position) {
      this.#dropFirst();
    }
  }

  // Let those who wait look again.
  wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #dropFirst() {
    this.start += this.#chunks.shift().bytes.length;
  }
}

// A recording, whose header only tells where in it a moment is: it is always read from its start.
export class FileAudio {
  config = {};
  bytesPerSecond = 0;
  start = 0;

  constructor(file) {
    this.file = file;
    this.end = file.size;
  }

  async read(position) {
    if (position >= this.file.size) return null;
    const part = this.file.slice(position, position + FILE_CHUNK);
    return new Uint8Array(await part.arrayBuffer());
  }

  forget() {}

  wake() {}
}

// The microphone, until it is closed.
export class Microphone {
  #closed = null;

  // Calls onChunk with 16-bit samples and their peak, 0 to 1; onLost if the device goes away.
  static async open(deviceId, onChunk, onLost) {
    const media = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: deviceId ? { exact: deviceId } : undefined,
        channelCount: 1,
        // Made for people on the telephone; they take away what a recogniser can use.
        echoCancellation: false,
        noiseSuppression: false,
        autoGainControl: false,
      },
    });
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
      const source = context.createMediaStreamSource(media);
      const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
      const microphone = new Microphone(media, context, capture);
      capture.port.onmessage = ({ data }) => {
        if (data.ended) microphone.ended();
        else onChunk(data.samples, data.peak);
      };
      media.getAudioTracks()[0].addEventListener("ended", onLost);
      source.connect(capture);
      await context.resume();
      return microphone;
    } catch (error) {
      media.getTracks().forEach((track) => track.stop());
      await context.close();
      throw error;
    }
  }

  constructor(media, context, capture) {
    this.media = media;
    this.context = context;
    this.capture = capture;
  }

  // Stop listening; what was heard so far has been handed over when this returns.
  close() {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end() {
    const ended = new Promise((resolve) => { this.ended = resolve; });
    this.capture.port.postMessage("end");
    await ended;
    this.media.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }
}
