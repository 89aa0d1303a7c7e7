// Any rate to another, in pieces: a windowed sinc, computed once for each phase that occurs.

const ZERO_CROSSINGS = 24;
const KAISER_BETA = 8; // 80 dB below the stop band's edge
const PASS_BAND = 0.94; // of the lower of the two Nyquist frequencies

// Zeroth modified Bessel function of the first kind, by its power series.
function bessel(x) {
  let sum = 1;
  for (let term = 1, k = 1; term > 1e-12 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}

export class Resampler {
  constructor(from, to) {
    const common = gcd(from, to);
    this.phases = to / common;
    this.advance = from / common;
    const cutoff = PASS_BAND * Math.min(1, to / from);
    this.half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.filters = new Map();
    this.cutoff = cutoff;
    this.kept = new Float32Array(this.half); // silence before the first sample
    this.at = this.half; // the next output lies here in what is kept, and
    this.phase = 0; // this many phases after that sample
  }

  // The samples that can be computed once these are known.
  push(samples) {
    const input = new Float32Array(this.kept.length + samples.length);
    input.set(this.kept);
    input.set(samples, this.kept.length);
    const output = [];
    while (this.at + this.half < input.length) {
      output.push(this.#at(input));
      this.phase += this.advance;
      this.at += Math.floor(this.phase / this.phases);
      this.phase %= this.phases;
    }
    const first = this.at - this.half;
    this.kept = input.slice(first);
    this.at = this.half;
    return output;
  }

  // What is left after the last sample.
  finish() {
    return this.push(new Float32Array(this.half));
  }

  #at(input) {
    const filter = this.#filter();
    const first = this.at - this.half + 1;
    let sum = 0;
    for (let k = 0; k < filter.length; k += 1) sum += input[first + k] * filter[k];
    return sum;
  }

  #filter() {
    let filter = this.filters.get(this.phase);
    if (!filter) {
      filter = new Float32Array(2 * this.half);
      for (let k = 0; k < filter.length; k += 1) {
        const t = k - this.half + 1 - this.phase / this.phases;
        const x = Math.PI * this.cutoff * t;
        const inside = Math.max(0, 1 - (t / this.half) ** 2);
        const window = bessel(KAISER_BETA * Math.sqrt(inside)) / bessel(KAISER_BETA);
        filter[k] = this.cutoff * (x === 0 ? 1 : Math.sin(x) / x) * window;
      }
      this.filters.set(this.phase, filter);
    }
    return filter;
  }
}
