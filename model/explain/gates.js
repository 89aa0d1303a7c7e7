// The page of gates: the picture of all units, the curves of one, and their values at one moment.
const data = JSON.parse(document.getElementById("data").textContent);
const decode = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const ramp = decode(data.ramp);
const layers = data.layers.map(layer => ({
  ...layer,
  signals: Object.fromEntries(
    Object.entries(layer.signals).map(([name, text]) => [name, decode(text)])),
}));

const [layerBox, signalBox, unitBox, timeBox] =
  ["layer", "signal", "unit", "time"].map(id => document.getElementById(id));
const picture = document.querySelector(".scroll svg");
const images = picture.querySelectorAll(".image");
const heat = images[images.length - 1];
const labels = document.querySelector(".timeline > svg").querySelectorAll(".row");
const curves = picture.querySelectorAll(".curve");
const pixels = Number(picture.dataset.pixels);
const svg = name => document.createElementNS("http://www.w3.org/2000/svg", name);
const chosen = svg("rect");
const moment = svg("line");
chosen.classList.add("chosen");
moment.classList.add("moment");
heat.parentNode.append(chosen);
picture.append(moment);

const layer = () => layers[Number(layerBox.value)];
const units = () => layer().order.length;
const unit = () => Math.min(Math.max(Math.round(Number(unitBox.value)) || 0, 0), units() - 1);
const frame = () => Number(timeBox.value);
const value = (name, at) => {
  const [low, high] = layer().bounds[name];
  return low + (high - low) * layer().signals[name][unit() * data.frames + at] / 255;
};

const drawAll = () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [data.frames, units()];
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const values = layer().signals[signalBox.value];
  layer().order.forEach((number, row) => {
    for (let at = 0; at < data.frames; at++) {
      const pixel = 4 * ((units() - 1 - row) * data.frames + at);
      const colour = 3 * values[number * data.frames + at];
      image.data.set(ramp.subarray(colour, colour + 3), pixel);
      image.data[pixel + 3] = 255;
    }
  });
  context.putImageData(image, 0, 0);
  heat.setAttribute("href", canvas.toDataURL());
};

const drawTimes = () => {
  // The rows of the picture of all units are named last but for the two axes of curves.
  const named = [...labels].filter(label => label.parentNode.querySelector(".title").textContent
    === "all units");
  const places = [0, units() >> 1, units() - 1];
  named.forEach((label, i) => {
    const time = layer().times[layer().order[places[i]]];
    label.textContent = time < 1000 ? `${time} ms` : `${(time / 1000).toFixed(1)} s`;
  });
};

const drawUnit = () => {
  const height = Number(heat.getAttribute("height"));
  const step = height / units();
  const row = layer().order.indexOf(unit());
  chosen.setAttribute("x", 0);
  chosen.setAttribute("width", heat.getAttribute("width"));
  chosen.setAttribute("y", (units() - 1 - row) * step - 1.5);
  chosen.setAttribute("height", step + 3);
  data.curves.forEach((name, number) => {
    const values = Array.from({length: data.frames}, (_, at) => value(name, at));
    // The memory of a unit may be of any size: it is drawn as large as it gets.
    const most = Math.max(1, ...values.map(Math.abs));
    const points = values.map((number, at) => {
      const share = data.gates.includes(name) ? number : 0.5 + number / most / 2;
      return `${((at + 0.5) * data.seconds * pixels).toFixed(1)} ${(80 * (1 - share)).toFixed(1)}`;
    });
    curves[number].setAttribute("d", "M" + points.join("L"));
    curves[number].classList.add(`c${number}`);
  });
};

const drawMoment = () => {
  const x = (frame() + 0.5) * data.seconds * pixels;
  moment.setAttribute("x1", x);
  moment.setAttribute("x2", x);
  moment.setAttribute("y1", 0);
  moment.setAttribute("y2", picture.getAttribute("height"));
  const scroll = picture.parentNode;
  if (x < scroll.scrollLeft || x > scroll.scrollLeft + scroll.clientWidth)
    scroll.scrollLeft = x - scroll.clientWidth / 2;
  for (const name of data.curves)
    document.getElementById(`value-${name}`).textContent = value(name, frame()).toFixed(2);
  const time = layer().times && layer().times[unit()];
  document.getElementById("where").textContent =
    `layer ${Number(layerBox.value) + 1}, unit ${unit()}` +
    (time === null ? "" : `, which keeps for ${time} ms`) +
    `, at ${(frame() * data.seconds).toFixed(2)} s`;
};

const show = () => {
  if (layer().times) drawTimes();
  drawAll();
  drawUnit();
  drawMoment();
};

layerBox.addEventListener("change", show);
signalBox.addEventListener("change", drawAll);
unitBox.addEventListener("input", () => { drawUnit(); drawMoment(); });
timeBox.addEventListener("input", drawMoment);
heat.addEventListener("click", event => {
  event.stopPropagation();  // elsewhere, a click plays
  const box = heat.getBoundingClientRect();
  const row = units() - 1 - Math.floor((event.clientY - box.top) / box.height * units());
  unitBox.value = layer().order[Math.min(Math.max(row, 0), units() - 1)];
  timeBox.value = Math.floor((event.clientX - box.left) / pixels / data.seconds);
  drawUnit();
  drawMoment();
});
for (const button of document.querySelectorAll("button[data-unit]"))
  button.addEventListener("click", () => {
    layerBox.value = button.dataset.layer;
    unitBox.value = button.dataset.unit;
    show();
  });
const sound = document.querySelector("audio");
sound.addEventListener("timeupdate", () => {
  timeBox.value = Math.floor(sound.currentTime / data.seconds);
  drawMoment();
});

const longest = layers[0].order[layers[0].order.length - 1];
unitBox.value = longest;
show();
