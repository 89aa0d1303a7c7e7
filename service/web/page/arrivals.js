// When audio was here, to tell how late its words are.

export class Arrivals {
  #known = []; // [end of the audio in seconds, when it was here]

  note(end) {
    this.#known.push([end, performance.now()]);
    if (this.#known.length > 4096) this.#known.splice(0, 2048);
  }

  // Milliseconds since the audio before this moment was here.
  since(end) {
    const found = this.#known.find(([known]) => known >= end - 1e-3);
    return found ? performance.now() - found[1] : null;
  }
}
