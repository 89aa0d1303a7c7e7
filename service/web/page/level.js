// How loud it was in the last seconds, as bars; the newest at the right.

const BARS = 48;
const FLOOR = -60; // decibels below full scale, where a bar has no height

export class Level {
  #bars = new Array(BARS).fill(0);
  #chunks = 0;
  #peak = 0;

  constructor(canvas) {
    this.canvas = canvas;
  }

  // The peak, 0 to 1, of the next 40 ms; two of them make a bar.
  add(peak) {
    this.#peak = Math.max(this.#peak, peak);
    this.#chunks += 1;
    if (this.#chunks % 2) return;
    const decibels = 20 * Math.log10(Math.max(this.#peak, 1e-6));
    this.#bars.push(Math.max(0, 1 - decibels / FLOOR));
    this.#bars.shift();
    this.#peak = 0;
    this.#draw();
  }

  clear() {
    this.#bars.fill(0);
    this.#draw();
  }

  #draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio;
    const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.fillStyle = getComputedStyle(canvas).color;
    const step = width / BARS;
    this.#bars.forEach((bar, number) => {
      const tall = Math.max(2 * scale, bar * height);
      context.globalAlpha = 0.25 + 0.75 * (number / BARS);
      context.beginPath();
      context.roundRect(number * step, (height - tall) / 2, step * 0.6, tall, step * 0.3);
      context.fill();
    });
  }
}
