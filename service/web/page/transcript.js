// What was said so far, and what can be made of it.

export class Transcript {
  segments = [];
  base = 0; // where the present start lies on the transcript's own clock

  add(result) {
    const at = (time) => Math.round((time + this.base) * 1000) / 1000;
    const words = result.words.map((word) => ({
      ...word, start: at(word.start), end: at(word.end),
    }));
    const segment = { text: result.text, start: words[0].start, end: words.at(-1).end, words };
    this.segments.push(segment);
    return segment;
  }

  get text() {
    return this.segments.map(({ text }) => `${text}\n`).join("");
  }

  // The file of a format. Subtitles are cut by the server, as it cuts them for everybody.
  async file(format, token) {
    if (format === "txt") return new Blob([this.text], { type: "text/plain" });
    const address = new URL(`v1/captions?format=${format}`, document.baseURI);
    const headers = { "Content-Type": "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const body = JSON.stringify({ segments: this.segments });
    const response = await fetch(address, { method: "POST", headers, body });
    if (!response.ok) throw new Error((await response.json()).error.message);
    return response.blob();
  }
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}
