"use strict";
// The page can be read without this: it adds sorting, a choice of theme, and opens what is folded
// before it is printed.

const root = document.documentElement;
const themes = { system: "as the system", light: "light", dark: "dark" };

function setTheme(name) {
  if (name === "system") root.removeAttribute("data-theme");
  else root.dataset.theme = name;
  document.getElementById("theme").textContent = `Theme: ${themes[name]}`;
}

function startThemes() {
  const button = document.getElementById("theme");
  let chosen = "system";
  try { chosen = localStorage.getItem("benchbcss-theme") || "system"; } catch { /* not kept */ }
  if (!(chosen in themes)) chosen = "system";
  setTheme(chosen);
  button.hidden = false;
  button.addEventListener("click", () => {
    const names = Object.keys(themes);
    chosen = names[(names.indexOf(chosen) + 1) % names.length];
    setTheme(chosen);
    try { localStorage.setItem("benchbcss-theme", chosen); } catch { /* not kept */ }
  });
}

// A number at the beginning counts; what has none comes last in both orders.
function compare(a, b, sign) {
  const [x, y] = [a, b].map((text) => text.replace("−", "-").match(/^[+-]?\d*\.?\d+(e[+-]?\d+)?/i));
  if (x && y) return sign * (Number(x[0]) - Number(y[0]));
  if (x || y) return x ? -1 : 1;
  const empty = (text) => text === "" || text === "-";
  if (empty(a) || empty(b)) return empty(a) - empty(b);
  return sign * a.localeCompare(b, "en", { numeric: true });
}

function sortBy(header, index) {
  const table = header.closest("table");
  const body = table.tBodies[0];
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...body.rows];
  const text = (row) => row.cells[index].textContent.trim();
  rows.sort((a, b) => compare(text(a), text(b), descending ? -1 : 1));
  body.append(...rows);
}

function startSorting() {
  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((header, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(header, index));
      header.append(button);
    });
  }
}

// What does not fit is scrolled by keys as well, and then has a name.
function nameScrolled() {
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", `${box.dataset.label}, scrolled`);
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }
}

function openForPrint() {
  const folded = [...document.querySelectorAll("details:not([open])")];
  for (const part of folded) part.open = true;
  addEventListener("afterprint", () => { for (const part of folded) part.open = false; },
    { once: true });
}

startThemes();
startSorting();
nameScrolled();
addEventListener("resize", nameScrolled);
addEventListener("beforeprint", openForPrint);
