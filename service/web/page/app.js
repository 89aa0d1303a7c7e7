// The page: what people press, and what they see of it.

import { Arrivals } from "./arrivals.js";
import { FileAudio, LiveAudio, Microphone, RATE } from "./audio.js";
import { Level } from "./level.js";
import { remedy } from "./remedy.js";
import { Stream } from "./stream.js";
import { Transcript, clock } from "./transcript.js";

const $ = (id) => document.getElementById(id);
const DOUBTFUL = 0.5; // words of less confidence are marked
const SILENT_PEAK = 0.001; // -60 dB: nobody's voice, but a microphone that is muted
const SILENT_SECONDS = 6;

let transcript = new Transcript();
let running = null; // the stream, and what ends it
let connected = true; // to a server, while there is a stream

// States and messages

const BUTTON = { idle: "Start", starting: "Cancel", live: "Stop", file: "Stop", finishing: "Give up" };

function enter(state, status) {
  document.body.dataset.state = state;
  $("start-text").textContent = BUTTON[state];
  $("file").disabled = state !== "idle";
  say(status);
}

function say(status) {
  if ($("status").textContent !== status) $("status").textContent = status;
}

let noticed = null; // what the button of the open notice does besides closing it: { name, run }

// What an open notice offers is offered further.
function notice(text, action = noticed) {
  $("notice-text").textContent = text;
  $("notice-action").hidden = !action;
  $("notice-action").textContent = action?.name ?? "";
  noticed = action;
  $("notice").hidden = false;
}

function closeNotice() {
  $("notice").hidden = true;
  noticed = null;
}

// Text

const page = $("page");

function scrolledDown(change) {
  const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 120;
  change();
  if (atEnd) page.scrollTop = page.scrollHeight;
}

function showFinal(segment) {
  const paragraph = document.createElement("p");
  const time = document.createElement("time");
  time.dateTime = `PT${segment.start}S`;
  time.textContent = clock(segment.start);
  paragraph.append(time);
  const text = document.createElement("span");
  segment.words.forEach((word, number) => {
    if (number) text.append(" ");
    const doubtful = word.confidence < DOUBTFUL;
    const part = doubtful ? document.createElement("i") : document.createTextNode(word.word);
    if (doubtful) {
      part.textContent = word.word;
      part.title = `${Math.round(100 * word.confidence)} % sure`;
    }
    text.append(part);
  });
  paragraph.append(text);
  $("finals").append(paragraph);
}

function showTranscript() {
  $("finals").replaceChildren();
  transcript.segments.forEach(showFinal);
  $("partial").textContent = "";
  const empty = !transcript.segments.length;
  $("hello").hidden = !empty;
  $("legend").hidden = empty;
  for (const button of document.querySelectorAll("#copy, #clear, [data-format]")) {
    button.disabled = empty;
  }
}

// Shows another transcript; that which was there is offered in a notice.
function show(other, text) {
  const before = transcript;
  transcript = other;
  showTranscript();
  if (!before.segments.length) return;
  const action = {
    name: "Bring it back",
    run: () => {
      if (running) notice("Stop first; then it can be brought back.", action);
      else show(before, "The other transcript is kept.");
    },
  };
  notice(text, action);
}

function newTranscript() {
  show(new Transcript(), "The transcript was cleared.");
}

// A stream, of the microphone or of a file

function settings() {
  const phrases = $("phrases").value.split("\n").map((line) => line.trim()).filter(Boolean);
  return {
    ...($("model").value ? { model: $("model").value } : {}),
    ...(phrases.length ? { speechContexts: [{ phrases }] } : {}),
  };
}

async function listen(audio, events, started) {
  let processed = 0;
  connected = true;
  const base = transcript.base;
  const stream = new Stream(audio, settings(), $("token").value, {
    partial: (result) => scrolledDown(() => {
      $("hello").hidden = true;
      $("partial").textContent = result.text;
      events.partial?.(result);
    }),
    final: (result) => scrolledDown(() => {
      $("partial").textContent = "";
      if (!result.text) return;
      $("hello").hidden = true;
      const first = !transcript.segments.length;
      const segment = transcript.add(result);
      if (first) showTranscript();
      else showFinal(segment);
    }),
    progress: (seconds) => {
      processed = Math.max(processed, seconds);
      events.progress?.(processed);
    },
    sent: (position) => events.sent?.(position),
    lost: (told) => {
      connected = false;
      say(`Connection lost; going on from ${clock(base + told)} as soon as it is back`);
    },
    back: () => {
      connected = true;
      say(events.status);
    },
  });
  running.stream = stream;
  started?.();
  try {
    await stream.run();
    enter("idle", transcript.segments.length ? "Done" : "Nothing was understood");
  } finally {
    transcript.base = base + processed;
    $("partial").textContent = "";
  }
}

async function listenToMicrophone() {
  if (!window.isSecureContext || !navigator.mediaDevices) {
    notice("Browsers give the microphone only to pages over https, or on localhost. Open this page "
      + "so, or drop a recording here, which works as it is.");
    return;
  }
  enter("starting", "Waiting for the microphone");
  const audio = new LiveAudio();
  const arrivals = new Arrivals();
  const level = new Level($("level"));
  const mine = {};
  running = mine;
  const cancelled = new Promise((resolve) => { mine.stop = () => resolve(null); });
  let silent = 0;
  const heard = (samples, peak) => {
    if (running !== mine) return; // allowed only after it was cancelled
    audio.push(samples);
    arrivals.note(audio.end / audio.bytesPerSecond);
    level.add(peak);
    $("time").textContent = clock(transcript.base + audio.end / audio.bytesPerSecond);
    silent = peak < SILENT_PEAK ? silent + samples.length / RATE : 0;
    if (!connected) return;
    if (silent > SILENT_SECONDS) say("Nothing is heard; is the microphone muted?");
    else if (document.body.dataset.state === "live" && $("status").textContent.startsWith("Nothing")) {
      say("Listening");
    }
  };
  let microphone = null;
  let awake = null;
  const stop = async () => {
    enter("finishing", "Waiting for the last words");
    mine.stop = () => mine.stream.leave();
    await microphone.close();
    audio.finish();
  };
  try {
    const opening = Microphone.open($("microphone").value, heard, () => {
      if (running !== mine) return;
      notice("The microphone has gone. What was said so far is kept.");
      mine.stop();
    });
    microphone = await Promise.race([opening, cancelled]);
    if (!microphone) {
      opening.then((late) => late.close()).catch(() => {}); // nobody is there to be told
      return;
    }
    // Nothing is awaited from here until it listens: Cancel would be lost.
    mine.stop = stop;
    listMicrophones();
    awake = navigator.wakeLock?.request("screen").catch(() => null);
    $("speed-name").textContent = "Latency";
    $("speed").textContent = "–";
    closeNotice();
    await listen(audio, {
      status: "Listening",
      partial: ({ end }) => {
        const late = arrivals.since(end);
        if (late !== null) $("speed").textContent = `${Math.round(late)} ms`;
      },
    }, () => enter("live", "Listening"));
  } finally {
    await microphone?.close();
    awake?.then((lock) => lock?.release());
    level.clear();
  }
}

async function listenToFile(file) {
  const before = transcript;
  const offered = noticed;
  newTranscript();
  enter("file", `Transcribing ${file.name}`);
  const began = performance.now();
  running = { stop: () => running.stream.leave() };
  $("speed-name").textContent = "Speed";
  $("speed").textContent = "–";
  try {
    await listen(new FileAudio(file), {
      status: `Transcribing ${file.name}`,
      sent: (position) => {
        const percent = Math.floor((100 * position) / Math.max(1, file.size));
        say(`Transcribing ${file.name}: ${percent} % sent`);
      },
      progress: (processed) => {
        $("time").textContent = clock(processed);
        const times = processed / ((performance.now() - began) / 1000);
        $("speed").textContent = `${times < 10 ? times.toFixed(1) : Math.round(times)}×`;
      },
    });
  } catch (error) {
    if (!transcript.segments.length) { // all is as it was before
      closeNotice();
      show(before);
      if (offered) notice("The other transcript is kept.", offered);
    }
    throw error;
  }
}

async function run(work) {
  if (running) return;
  try {
    await work();
  } catch (error) {
    await explain(error);
  } finally {
    running = null;
    if (document.body.dataset.state !== "idle") enter("idle", "Ready");
  }
}

async function explain(error) {
  if (error.status === "UNAUTHENTICATED") {
    openSettings("This server answers only those who have a token. Ask its operator for one, enter "
      + "it here, and press Start again.");
    $("token").focus();
  } else {
    notice(await remedy(error));
  }
}

// Settings

async function listMicrophones() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const chosen = $("microphone").value;
  const options = devices
    .filter(({ kind, deviceId, label }) => kind === "audioinput" && deviceId !== "default" && label)
    .map(({ deviceId, label }) => new Option(label, deviceId, false, deviceId === chosen));
  $("microphone").replaceChildren($("microphone").options[0], ...options);
}

async function listModels() {
  const headers = $("token").value ? { Authorization: `Bearer ${$("token").value}` } : {};
  const response = await fetch(new URL("v1/models", document.baseURI), { headers });
  if (!response.ok) return;
  const models = (await response.json()).data;
  $("model").replaceChildren(...models.map(({ id }) => new Option(id, id)));
  for (const part of [$("model"), document.querySelector('label[for="model"]')]) {
    part.hidden = models.length < 2;
  }
}

function openSettings(why = "") {
  $("settings-why").textContent = why;
  $("settings-why").hidden = !why;
  $("settings-dialog").showModal();
}

function chooseTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

// What people press

$("start").addEventListener("click", () => {
  if (running) running.stop();
  else run(listenToMicrophone);
});
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (file) run(() => listenToFile(file));
});
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(transcript.text);
    say("Copied");
  } catch {
    notice("The browser does not let this page copy; download the text instead.");
  }
});
$("clear").addEventListener("click", () => {
  if (!running) newTranscript();
});
for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", async () => {
    const { format } = button.dataset;
    try {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await transcript.file(format, $("token").value));
      link.download = `transcript.${format}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (error) {
      notice(`The ${format} file cannot be made: ${error.message}. TXT needs no server.`);
    }
  });
}
$("captions").addEventListener("click", () => {
  const on = document.body.classList.toggle("captions");
  $("captions").setAttribute("aria-pressed", String(on));
  page.scrollTop = page.scrollHeight;
});
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && document.body.classList.contains("captions")) $("captions").click();
});
$("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", theme);
  chooseTheme(theme);
});
$("settings").addEventListener("click", () => openSettings());
$("token").addEventListener("change", () => {
  $("token").value = $("token").value.trim();
  sessionStorage.setItem("token", $("token").value);
  listModels();
});
$("phrases").addEventListener("change", () => localStorage.setItem("phrases", $("phrases").value));
$("notice-close").addEventListener("click", closeNotice);
$("notice-action").addEventListener("click", () => {
  const action = noticed;
  closeNotice();
  action.run();
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragover" && !running);
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file) run(() => listenToFile(file));
  });
}
window.addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault();
});

const dark = window.matchMedia("(prefers-color-scheme: dark)");
chooseTheme(localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => {
  if (!localStorage.getItem("theme")) chooseTheme(dark.matches ? "dark" : "light");
});
$("token").value = sessionStorage.getItem("token") ?? "";
$("phrases").value = localStorage.getItem("phrases") ?? "";
showTranscript();
listModels().catch(() => notice("The server does not answer."));
