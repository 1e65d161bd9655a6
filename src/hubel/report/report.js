// Tables that sort by a click on their headings, and the gallery's controls. The page is whole without this script.
"use strict";

const page = 48; // pictures that the gallery shows at first, and adds at a time
const collator = new Intl.Collator(undefined, { numeric: true });

// Missing values come last in either direction.
function compare(a, b, kind, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (kind === "number" ? Number(a) - Number(b) : collator.compare(a, b));
}

function sortTable(table, heading, column) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const kind = heading.dataset.sort;
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(value(a), value(b), kind, down ? -1 : 1));
  body.append(...rows);
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (!heading.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortTable(table, heading, column));
    heading.append(button);
  });
}

for (const gallery of document.querySelectorAll("[data-gallery]")) {
  const list = gallery.querySelector("ol");
  const items = [...list.children];
  const by = gallery.querySelector("[data-sort-by]");
  const direction = gallery.querySelector("[data-direction]");
  const filters = [...gallery.querySelectorAll("[data-filter]")];
  const more = gallery.querySelector("[data-more]");
  const status = gallery.querySelector("[data-status]");
  let limit = page;

  function update() {
    const key = by.value;
    const kind = key === "loss" || key === "confidence" ? "number" : "text";
    const reversed = direction.getAttribute("aria-pressed") === "true";
    const sign = (kind === "number" ? -1 : 1) * (reversed ? -1 : 1); // the largest loss first, the first name first
    const kept = items.filter((item) => filters.every((f) => !f.value || item.dataset[f.dataset.filter] === f.value));
    kept.sort((a, b) => compare(a.dataset[key], b.dataset[key], kind, sign));
    for (const item of items) item.hidden = true;
    kept.slice(0, limit).forEach((item) => (item.hidden = false));
    list.append(...kept);
    more.hidden = kept.length <= limit;
    status.textContent = `${Math.min(limit, kept.length)} of ${kept.length} shown`;
  }

  function restart() {
    limit = page;
    update();
  }

  by.addEventListener("change", restart);
  filters.forEach((filter) => filter.addEventListener("change", restart));
  direction.addEventListener("click", () => {
    direction.setAttribute("aria-pressed", String(direction.getAttribute("aria-pressed") !== "true"));
    restart();
  });
  more.addEventListener("click", () => {
    limit += page;
    update();
  });
  gallery.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  gallery.querySelector("form").hidden = false;
  update();
}
