// What the server cannot do for the page: follow a log, narrow it, keep old links alive.
"use strict";

async function followLog(target) {
  if (target.dataset.following) return;
  target.dataset.following = "yes";
  const answer = await fetch(target.dataset.log).catch(() => null);
  if (!answer?.ok) {
    // The container has not started, or the line was cut: the page's next change asks again.
    delete target.dataset.following;
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const atEnd = target.scrollTop + target.clientHeight >= target.scrollHeight - 4;
    if (target.whole !== undefined) target.whole += value;
    target.append(target.wanted ? lines(value, target.wanted) : value);
    if (atEnd) target.scrollTop = target.scrollHeight;
  }
}

const lines = (text, wanted) => text.split("\n").filter((l) => l.toLowerCase().includes(wanted)).map((l) => l + "\n").join("");

// Only the lines of a log that hold what is looked for; all again when nothing is.
document.addEventListener("input", (event) => {
  const target = event.target.dataset?.filter && document.getElementById(event.target.dataset.filter);
  if (!target) return;
  if (target.whole === undefined) target.whole = target.textContent;
  target.wanted = event.target.value.toLowerCase();
  target.textContent = target.wanted ? lines(target.whole, target.wanted) : target.whole;
});

// A slider says where it stands.
document.addEventListener("input", (event) => {
  const shown = event.target.dataset?.shown && document.getElementById(event.target.dataset.shown);
  if (shown) shown.textContent = `${event.target.value}%`;
});

// Of parts that belong to choices, only those of the chosen one; without scripts all are there.
function showChosen(root) {
  root.querySelectorAll("[data-for]").forEach((part) => {
    part.hidden = document.getElementById(part.dataset.for)?.value !== part.dataset.value;
  });
}
document.addEventListener("change", (event) => { if (event.target.matches("select")) showChosen(document); });

// A picture becomes the request of a model that takes pictures.
document.addEventListener("change", async (event) => {
  const input = event.target;
  if (!input.matches("[data-picture]") || !input.files.length) return;
  const want = JSON.parse(input.dataset.picture), { width, height, channels } = want;
  const canvas = new OffscreenCanvas(width, height), pen = canvas.getContext("2d");
  let picture;
  try { picture = await createImageBitmap(input.files[0]); } catch {
    input.setCustomValidity("This is no picture that the browser can read."); input.reportValidity(); return;
  }
  input.setCustomValidity("");
  pen.drawImage(picture, 0, 0, width, height);
  const points = pen.getImageData(0, 0, width, height).data, size = width * height;
  const most = /^(FP|BF)/.test(want.datatype) ? 255 : 1, data = new Array(size * channels);
  for (let i = 0; i < size; i++) {
    const [red, green, blue] = points.slice(4 * i, 4 * i + 3);
    const colours = channels === 3 ? [red, green, blue] : [Math.round(0.299 * red + 0.587 * green + 0.114 * blue)];
    colours.forEach((value, c) => { data[want.first ? c * size + i : i * channels + c] = Number((value / most).toFixed(4)); });
  }
  const { name, datatype, shape } = want;
  document.getElementById(input.dataset.into).value = JSON.stringify({ inputs: [{ name, datatype, shape, data }] });
});

function prepare(root) {
  showChosen(root);
  root.querySelectorAll("time[data-clock]").forEach((time) => {
    const moment = new Date(time.dateTime);
    const today = moment.toDateString() === new Date().toDateString();
    time.textContent = today && !time.dataset.clock ? moment.toLocaleTimeString() : moment.toLocaleString();
  });
  root.querySelectorAll("[data-log]").forEach(followLog);
}

// A part that is drawn anew keeps the keyboard's place, if it still has what was there.
let held = null;
document.addEventListener("htmx:beforeSwap", () => { held = document.activeElement?.id || held; });
document.addEventListener("htmx:afterSettle", () => {
  prepare(document);
  if (held && document.activeElement === document.body) document.getElementById(held)?.focus({ preventScroll: true });
  held = null;
});
prepare(document);
// On a narrow screen the menu is a line that scrolls.
const menu = document.querySelector("header nav"), here = menu?.querySelector("[aria-current]");
if (here) menu.scrollLeft = here.offsetLeft - (menu.clientWidth - here.clientWidth) / 2;

const line = document.getElementById("line");

// What was deleted while it was looked at says so; other errors leave what is there, and are told.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr } = event.detail;
  if (target.id !== "live" || xhr.status < 400) return;
  if (xhr.status === 404) event.detail.shouldSwap = true;
  else line.textContent = `· not up to date: the platform answered ${xhr.status}`;
});
document.addEventListener("htmx:responseError", (event) => {
  const { target, xhr } = event.detail;
  const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
  const reason = page.querySelector(".cause")?.textContent ?? `the platform answered ${xhr.status}`;
  if (target.matches("form")) line.textContent = `· not done: ${reason}`;
  else if (target.id !== "live") target.textContent = `This part is not to be had now: the platform answered ${xhr.status}.`;
});
// A request may be lost while the stream goes on, which tells of the next change only.
let again = 0;
document.addEventListener("htmx:sendError", ({ detail: { target } }) => {
  line.textContent = "· not up to date: the platform does not answer";
  if (target.id !== "live") return;
  clearTimeout(again);
  again = setTimeout(() => htmx.trigger(target, "sse:changed"), 2000);
});
document.addEventListener("htmx:afterSwap", () => { line.textContent = ""; });

// The stream reconnects by itself, and opens with the word that fetches the page again.
document.addEventListener("htmx:sseError", () => { line.textContent = "· reconnecting…"; });
document.addEventListener("htmx:sseOpen", () => { line.textContent = ""; });

// The SDKs print links of upstream's single-page application.
const upstream = location.hash.match(/^#\/(runs|experiments|pipelines|recurringrun)\/details\/([\w-]+)/);
const pages = {
  runs: "/pipelines/runs/", experiments: "/pipelines?experiment=", pipelines: "/pipelines/catalogue/",
  recurringrun: "/pipelines/recurring#",
};
if (upstream) location.replace(pages[upstream[1]] + upstream[2]);
