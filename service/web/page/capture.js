// The microphone's samples, in the thread of the sound: mono, 16 kHz, 16 bits, 40 ms at a time.

import { Resampler } from "./resampler.js";

const RATE = 16000;
const CHUNK = 640;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = sampleRate === RATE ? null : new Resampler(sampleRate, RATE);
    this.chunk = new Int16Array(CHUNK);
    this.filled = 0;
    this.peak = 0;
    this.open = true;
    this.port.onmessage = () => this.finish();
  }

  process(inputs) {
    if (!this.open) return false;
    // A device that has just gone gives no channel at all; time goes on.
    const channels = inputs[0].length ? inputs[0] : [new Float32Array(128)];
    const mono = channels[0].slice();
    for (let c = 1; c < channels.length; c += 1) {
      for (let i = 0; i < mono.length; i += 1) mono[i] += channels[c][i];
    }
    if (channels.length > 1) {
      for (let i = 0; i < mono.length; i += 1) mono[i] /= channels.length;
    }
    this.take(this.resampler ? this.resampler.push(mono) : mono);
    return true;
  }

  take(samples) {
    for (const sample of samples) {
      this.peak = Math.max(this.peak, Math.abs(sample));
      this.chunk[this.filled] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      this.filled += 1;
      if (this.filled === CHUNK) this.send();
    }
  }

  send() {
    const samples = this.chunk.slice(0, this.filled);
    this.port.postMessage({ samples, peak: this.peak }, [samples.buffer]);
    this.filled = 0;
    this.peak = 0;
  }

  finish() {
    this.open = false;
    if (this.resampler) this.take(this.resampler.finish());
    if (this.filled) this.send();
    this.port.postMessage({ ended: true });
  }
}

registerProcessor("capture", Capture);
