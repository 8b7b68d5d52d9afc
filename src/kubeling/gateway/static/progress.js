// A run's steps: keeps the picture up to date piece by piece, opens groups and steps, zooms.
"use strict";
(() => {
  const canvas = document.getElementById("canvas");
  if (!canvas) return;
  const panel = document.getElementById("panel");
  const head = document.getElementById("head");
  const form = document.querySelector(".tools");
  const way = canvas.dataset.way;
  const query = new URLSearchParams(location.search);
  const svg = () => canvas.querySelector("svg");
  let source = null, chosen = null, final = false, zoom = 1, pending = null, own = false;

  // The picture.

  // Elements and markup by key; many pieces come at once, so none is searched for in the page.
  const elements = new Map(svg() ? [...svg().querySelectorAll("[data-key]")].map((e) => [e.dataset.key, e]) : []);
  const drawn = new Map();
  const piece = (key) => elements.get(key);

  function parse(pieces) {
    const holder = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    holder.innerHTML = pieces.join("");
    return [...holder.children];
  }

  function draw(changes, whole) {
    const focusedKey = document.activeElement?.closest?.("[data-key]")?.dataset.key;
    const layers = {};
    for (const layer of svg().querySelectorAll("[data-layer]")) layers[layer.dataset.layer] = layer;
    const kept = new Set();
    parse(changes.put).forEach((fresh, number) => {
      const key = fresh.dataset.key, markup = changes.put[number], old = piece(key);
      kept.add(key);
      if (old && drawn.get(key) === markup) return;
      if (old) old.replaceWith(fresh); else layers[key[0]].append(fresh);
      elements.set(key, fresh);
      drawn.set(key, markup);
      if (key === focusedKey) fresh.querySelector("a")?.focus({ preventScroll: true });
    });
    const gone = whole ? [...elements.keys()].filter((key) => !kept.has(key)) : changes.gone;
    for (const key of gone) { piece(key)?.remove(); elements.delete(key); drawn.delete(key); }
    svg().setAttribute("viewBox", `0 0 ${changes.size[0]} ${changes.size[1]}`);
    size();
    // A group that was opened is a frame now, one that was shut a box: the focus stays with it.
    if (focusedKey && !piece(focusedKey)) {
      const other = piece((focusedKey[0] === "b" ? "f" : "b") + focusedKey.slice(1));
      other?.querySelector("a")?.focus({ preventScroll: true });
    }
    mark();
    if (whole) reveal();
  }

  // What was looked for comes into sight; later changes leave the picture where it is.
  function reveal() {
    if (!svg() || !query.get("q") && !query.get("state")) return;
    bring(svg().querySelector(".node:not(.faint), .bar-row:not(.faint)"));
  }

  function bring(element) {
    const found = element?.getBoundingClientRect();
    if (!found) return;
    const sight = canvas.getBoundingClientRect();
    canvas.scrollBy(
      Math.min(0, found.left - sight.left - 40) + Math.max(0, found.right - sight.right + 40),
      Math.min(0, found.top - sight.top - 40) + Math.max(0, found.bottom - sight.bottom + 40),
    );
  }

  // The stream.

  function address() {
    const values = new URLSearchParams(query);
    if (svg()) values.set("have", svg().dataset.digest || "");
    return `${canvas.dataset.steps}?${values}`;
  }

  function connect() {
    source?.close();
    source = new EventSource(address());
    let whole = true;
    source.addEventListener("drawing", (event) => { draw(JSON.parse(event.data), whole); whole = false; svg().dataset.digest = ""; again(); });
    source.addEventListener("rows", (event) => { Idiomorph.morph(canvas, JSON.parse(event.data).html, { morphStyle: "innerHTML" }); prepare(canvas); mark(); again(); });
    source.addEventListener("head", (event) => {
      const said = JSON.parse(event.data);
      final = said.final;
      Idiomorph.morph(head, said.html, { morphStyle: "innerHTML" });
      prepare(head);
      again();
    });
    source.addEventListener("tally", (event) => {
      const tally = JSON.parse(event.data);
      for (const option of form.state.options) {
        if (option.value) option.textContent = `${option.value} (${tally[option.value] || 0})`;
      }
      for (const state of Object.keys(tally)) {
        if (![...form.state.options].some((o) => o.value === state)) form.state.add(new Option(`${state} (${tally[state]})`, state));
      }
    });
    // Its address says what has become of it: filed in the archive, or nowhere.
    source.addEventListener("gone", () => { source.close(); location.reload(); });
    const line = document.getElementById("line");
    source.onerror = () => { line.textContent = "· reconnecting…"; whole = true; };
    source.onopen = () => { line.textContent = ""; };
  }

  function ask() {
    history.replaceState(null, "", `${location.pathname}${query.size ? "?" + query : ""}${location.hash}`);
    if (svg()) svg().dataset.digest = "";
    connect();
  }

  // Groups, the search and the state.

  function toggle(key, isOpen) {
    for (const name of ["open", "shut"]) {
      const others = query.getAll(name).filter((other) => other !== key);
      query.delete(name);
      others.forEach((other) => query.append(name, other));
    }
    query.append(isOpen ? "shut" : "open", key);
    ask();
  }

  function look() {
    for (const name of ["q", "state"]) {
      if (form[name].value) query.set(name, form[name].value); else query.delete(name);
    }
    query.delete("page");
    for (const tab of form.querySelectorAll(".tabs a")) {
      const there = new URL(tab.href);
      for (const name of ["q", "state"]) {
        if (query.get(name)) there.searchParams.set(name, query.get(name)); else there.searchParams.delete(name);
      }
      tab.href = there;
    }
    ask();
  }
  let typing = null;
  form.q.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(look, 200); });
  form.state.addEventListener("change", look);
  form.addEventListener("submit", (event) => { event.preventDefault(); look(); });
  document.getElementById("critical")?.addEventListener("change", (event) => canvas.classList.toggle("show-critical", event.target.checked));

  // The chosen step.

  function mark() {
    canvas.querySelectorAll(".chosen").forEach((e) => e.classList.remove("chosen"));
    if (!chosen) return;
    const link = canvas.querySelector(`[data-step="${CSS.escape(chosen)}"]`);
    (link?.closest("[data-key], tr"))?.classList.add("chosen");
  }

  async function show(id, reveal) {
    chosen = id;
    mark();
    history.replaceState(null, "", `#step=${encodeURIComponent(id)}`);
    const halves = document.querySelector(".halves"), opens = !halves.classList.contains("with-panel");
    halves.classList.add("with-panel");
    await fill();
    if (opens) fitAnew();
    if (svg()) bring(canvas.querySelector(".chosen"));
    if (reveal) panel.scrollIntoView({ block: "nearest" });
    panel.querySelector("h2")?.focus({ preventScroll: true });
  }

  async function fill() {
    if (!chosen) return;
    const id = chosen;
    let html;
    try {
      const answer = await fetch(`${canvas.dataset.steps}/${encodeURIComponent(id)}`, { headers: { "HX-Request": "true" } });
      html = await answer.text();
    } catch (error) {
      // The line was cut; it is asked for again until another step is chosen.
      setTimeout(() => { if (id === chosen) fill(); }, 700);
      return;
    }
    if (id !== chosen) return;
    Idiomorph.morph(panel, html, { morphStyle: "innerHTML", callbacks: { beforeNodeMorphed: (node) => !(node.dataset?.following) } });
    prepare(panel);
  }

  function again() {
    if (!chosen || pending || panel.querySelector("[data-final]")) return;
    pending = setTimeout(() => { pending = null; fill(); }, 700);
  }

  function close() {
    const back = chosen && canvas.querySelector(`[data-step="${CSS.escape(chosen)}"]`);
    chosen = null;
    mark();
    panel.replaceChildren();
    document.querySelector(".halves").classList.remove("with-panel");
    fitAnew();
    history.replaceState(null, "", location.pathname + location.search);
    back?.focus();
  }

  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const group = event.target.closest("[data-toggle]");
    const step = event.target.closest("[data-step]");
    if (group) {
      event.preventDefault();
      toggle(group.dataset.toggle, group.getAttribute("aria-expanded") === "true");
    } else if (step) {
      event.preventDefault();
      show(step.dataset.step, true);
    } else if (event.target.closest("[data-close]")) {
      event.preventDefault();
      close();
    }
  });

  // The keyboard: arrows go to the next box in that direction.

  const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  document.addEventListener("keydown", (event) => {
    const typed = event.target.closest("input, select, textarea");
    if (event.key === "Escape" && chosen && !typed) return close();
    if (event.key === "/" && !typed) { event.preventDefault(); form.q.focus(); return; }
    const from = event.target.closest("svg a");
    const way = WAYS[event.key];
    if (!from || !way || !canvas.contains(from)) return;
    event.preventDefault();
    const middle = (link) => { const r = link.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; };
    const [x, y] = middle(from);
    let best = null, least = Infinity;
    for (const link of svg().querySelectorAll("a")) {
      if (link === from) continue;
      const [u, v] = middle(link);
      const along = (u - x) * way[0] + (v - y) * way[1];
      const aside = Math.abs((u - x) * way[1]) + Math.abs((v - y) * way[0]);
      if (along > 4 && along + 2 * aside < least) { least = along + 2 * aside; best = link; }
    }
    best?.focus();
    best?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  // Zoom and pan.

  function size() {
    const box = svg().viewBox.baseVal;
    svg().setAttribute("width", box.width * zoom);
    svg().setAttribute("height", box.height * zoom);
  }

  function zoomTo(next, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const before = zoom;
    zoom = Math.min(3, Math.max(0.05, next));
    const left = (canvas.scrollLeft + x) * zoom / before - x;
    const top = (canvas.scrollTop + y) * zoom / before - y;
    size();
    canvas.scrollTo(left, top);
  }

  const fit = () => zoomTo(Math.min(1, (canvas.clientWidth - 4) / svg().viewBox.baseVal.width));
  // Until somebody zooms, all is in sight as long as it can be read.
  function fitAnew() {
    if (own || !svg()) return;
    if (way === "timeline" || svg().viewBox.baseVal.width < canvas.clientWidth * 1.9) fit(); else zoomTo(1);
  }
  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    own = button.dataset.zoom !== "fit";
    if (!own) fit(); else zoomTo(zoom * (button.dataset.zoom === "in" ? 1.25 : 0.8));
  }));
  if (svg()) {
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      own = true;
      const at = canvas.getBoundingClientRect();
      zoomTo(zoom * Math.exp(-event.deltaY / 400), event.clientX - at.x, event.clientY - at.y);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button || event.target.closest("a")) return;
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("panning");
      const pan = (move) => { canvas.scrollLeft -= move.movementX; canvas.scrollTop -= move.movementY; };
      const end = () => { canvas.removeEventListener("pointermove", pan); canvas.classList.remove("panning"); };
      canvas.addEventListener("pointermove", pan);
      canvas.addEventListener("pointerup", end, { once: true });
      canvas.addEventListener("pointercancel", end, { once: true });
    });
    fitAnew();
  }

  reveal();
  connect();
  const named = location.hash.match(/^#step=(.+)/);
  if (named) show(decodeURIComponent(named[1]), false);
})();
