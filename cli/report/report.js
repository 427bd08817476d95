"use strict";
// Search, zoom and keys of the graph, and layers that open where a link leads to them.
(() => {
  const view = document.getElementById("view"), picture = document.getElementById("picture");
  const find = document.getElementById("find"), found = document.getElementById("found");
  const boxes = [...picture.querySelectorAll("a.n")];
  const width = picture.viewBox.baseVal.width, height = picture.viewBox.baseVal.height;
  let zoom = 1, hits = [], at = -1, drag = null;

  const middle = (box) => {
    const r = box.querySelector("rect");
    return [r.x.baseVal.value + r.width.baseVal.value / 2, r.y.baseVal.value + r.height.baseVal.value / 2];
  };
  const show = (box) => {
    const [x, y] = middle(box);
    view.scrollTo(x * zoom - view.clientWidth / 2, y * zoom - view.clientHeight / 2);
  };
  const scale = (to) => {
    const x = (view.scrollLeft + view.clientWidth / 2) / zoom, y = (view.scrollTop + view.clientHeight / 2) / zoom;
    zoom = Math.min(4, Math.max(0.05, to));
    picture.setAttribute("width", width * zoom);
    picture.setAttribute("height", height * zoom);
    view.scrollTo(x * zoom - view.clientWidth / 2, y * zoom - view.clientHeight / 2);
  };
  const fit = () => scale(Math.min(view.clientWidth / width, view.clientHeight / height));

  // One box is in the order of the Tab key; arrows go on from it.
  const focus = (box) => {
    boxes.forEach((b) => b.setAttribute("tabindex", b === box ? 0 : -1));
    show(box);
    box.focus({ preventScroll: true });
  };
  boxes.forEach((b, i) => b.setAttribute("tabindex", i ? -1 : 0));
  const next = (box, dx, dy) => {
    const [x, y] = middle(box);
    let best = null, least = Infinity;
    for (const b of boxes) {
      const [u, v] = middle(b), along = (u - x) * dx + (v - y) * dy;
      const across = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
      const far = along + 2 * across;
      if (along > 1 && far < least) [best, least] = [b, far];
    }
    return best;
  };
  view.addEventListener("keydown", (e) => {
    const way = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[e.key];
    const box = boxes.includes(document.activeElement) ? document.activeElement : null;
    if (e.key === "+" || e.key === "=") scale(zoom * 1.25);
    else if (e.key === "-") scale(zoom / 1.25);
    else if (e.key === "0") fit();
    else if (way && box) focus(next(box, ...way) || box);
    else if (way && boxes.length && e.target === view) focus(boxes[0]);
    else return;
    e.preventDefault();
  });

  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const layer = target && target.closest("details");
    if (!layer) return;
    layer.open = true;
    layer.scrollIntoView();
    target.focus({ preventScroll: true });
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (e) => {
    const link = e.target.closest && e.target.closest("a[href^='#layer-']");
    if (link && link.getAttribute("href") === location.hash) open();
  });

  const search = () => {
    const text = find.value.trim().toLowerCase();
    boxes.forEach((b) => b.classList.remove("hit"));
    hits = text ? boxes.filter((b) => b.textContent.toLowerCase().includes(text)) : [];
    hits.forEach((b) => b.classList.add("hit"));
    at = hits.length ? 0 : -1;
    found.textContent = text ? hits.length + " found" : "";
    if (hits.length) show(hits[0]);
  };
  find.addEventListener("input", search);
  find.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || !hits.length) return;
    at = (at + 1) % hits.length;
    show(hits[at]);
    found.textContent = at + 1 + " of " + hits.length;
  });
  document.getElementById("in").addEventListener("click", () => scale(zoom * 1.25));
  document.getElementById("out").addEventListener("click", () => scale(zoom / 1.25));
  document.getElementById("fit").addEventListener("click", fit);
  view.addEventListener("wheel", (e) => {
    if (!e.ctrlKey) return;
    e.preventDefault();
    scale(zoom * (e.deltaY < 0 ? 1.1 : 1 / 1.1));
  }, { passive: false });

  // A mouse drags the picture; fingers scroll it.
  view.addEventListener("pointerdown", (e) => {
    if (e.pointerType === "mouse" && !e.button) drag = [e.clientX + view.scrollLeft, e.clientY + view.scrollTop];
  });
  view.addEventListener("dragstart", (e) => e.preventDefault());
  addEventListener("pointermove", (e) => { if (drag) view.scrollTo(drag[0] - e.clientX, drag[1] - e.clientY); });
  addEventListener("pointerup", () => { drag = null; });

  // On paper all layers are open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((d) => { d.open = false; }));

  document.querySelector(".tools").hidden = false;
  if (boxes.length) view.scrollTo(middle(boxes[0])[0] - view.clientWidth / 2, 0);
  open();
})();
