// A table of which only the rows in sight exist, however many there are. The page scrolls, not the table.
//
// Its rows come from `at(index)`: all are here, or only some, and others are asked for by `wanted(first, rows)`.

import { make, setAttribute, setText, show } from "./dom.js";

const BEYOND = 8; // rows made above and below those in sight, for smooth scrolling

let made = 0;

export class Grid {
  /**
   * `columns`: id, label, sort (may it be sorted by), numeric, make(cell), fill(cell, row).
   * `open(row)` and `act(row)`: what Enter and K do; `sorted(id, descending)`: what a header does.
   */
  constructor(root, { name, label, columns, open, act, sorted, sort = "", descending = false, wanted = null }) {
    Object.assign(this, { root, columns, open, act, sorted, sort, descending, wanted });
    this.prefix = `grid-${(made += 1)}`;
    this.count = 0;
    this.at = () => undefined;
    this.active = -1;
    this.shown = new Map(); // elements by index
    this.spare = [];
    this.head = make("div", { class: `row heading ${name}`, role: "row", "aria-rowindex": "1" });
    this.body = make("div", { class: "rows", role: "rowgroup" });
    this.name = name;
    for (const column of columns) this.head.append(this.heading(column));
    this.table = make("div", { class: "grid", role: "grid", tabindex: "0", "aria-label": label }, this.head, this.body);
    const order = this.order(label);
    if (columns.some((one) => one.sort)) root.append(order);
    root.append(this.table);
    this.table.addEventListener("keydown", (event) => this.press(event));
    this.table.addEventListener("focus", () => this.activate(Math.max(0, this.active)));
    this.body.addEventListener("click", (event) => this.click(event));
    this.refresh = this.refresh.bind(this);
    this.later = () => {
      if (!this.due) this.due = requestAnimationFrame(this.refresh);
    };
    window.addEventListener("scroll", this.later, { passive: true });
    window.addEventListener("resize", this.later, { passive: true });
    this.mark();
  }

  heading(column) {
    const cell = make("div", { role: "columnheader", class: `cell ${column.id}${column.numeric ? " numeric" : ""}` });
    if (!column.sort) {
      cell.append(make("span", column.unseen ? { class: "unseen" } : {}, column.label));
      return cell;
    }
    const button = make("button", { class: "sort", tabindex: "0" }, column.label);
    button.addEventListener("click", () => this.sortBy(column.id, this.sort === column.id && !this.descending));
    cell.append(button);
    return cell;
  }

  /** Narrow screens have no heading: there the order is chosen from a list. */
  order(label) {
    this.choice = make("select", {});
    if (this.sort === "") this.choice.append(make("option", { value: "" }, "as they came"));
    for (const column of this.columns.filter((one) => one.sort)) {
      this.choice.append(make("option", { value: column.id }, column.label));
    }
    this.choice.addEventListener("change", () => this.sortBy(this.choice.value, false));
    return make("label", { class: "order" }, make("span", {}, "Order"), make("span", { class: "unseen" }, ` of ${label}`), this.choice);
  }

  sortBy(id, descending) {
    this.sort = id;
    this.descending = descending;
    this.mark();
    this.sorted(id, descending);
  }

  mark() {
    this.columns.forEach((column, index) => {
      const order = this.descending ? "descending" : "ascending";
      setAttribute(this.head.children[index], "aria-sort", column.id === this.sort ? order : null);
    });
    this.choice.value = this.sort;
  }

  /** Show these rows: how many there are, and which is where. `keyOf` keeps the active row active when it moves. */
  set(count, at, keyOf = null) {
    const before = keyOf && this.active >= 0 ? this.at(this.active) : undefined;
    this.count = count;
    this.at = at;
    if (before !== undefined) {
      const key = keyOf(before);
      let found = -1;
      for (let index = 0; index < count && found < 0; index += 1) if (keyOf(at(index)) === key) found = index;
      this.active = found >= 0 ? found : Math.min(this.active, count - 1);
    } else if (this.active >= count) {
      this.active = count - 1;
    }
    show(this.root, count > 0);
    setAttribute(this.table, "aria-rowcount", String(count + 1));
    this.refresh();
  }

  /** Make, move and fill the rows that are in sight. */
  refresh() {
    this.due = 0;
    if (this.root.offsetParent === null) return;
    this.height = parseFloat(getComputedStyle(this.table).getPropertyValue("--row")) || 44;
    this.body.style.height = `${this.count * this.height}px`;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / this.height) - BEYOND);
    const last = Math.min(this.count, Math.ceil((window.innerHeight - top) / this.height) + BEYOND);
    for (const [index, element] of this.shown) {
      if (index < first || index >= last) {
        element.remove();
        this.spare.push(element);
        this.shown.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) this.fill(index);
    setAttribute(this.table, "aria-activedescendant", this.shown.has(this.active) ? this.idOf(this.active) : null);
    if (this.wanted && last > first) this.wanted(first, last - first);
  }

  idOf(index) {
    return `${this.prefix}-${index}`;
  }

  fill(index) {
    let element = this.shown.get(index);
    if (element === undefined) {
      element = this.spare.pop() || this.makeRow();
      element.style.transform = `translateY(${index * this.height}px)`;
      element.id = this.idOf(index);
      element.dataset.index = String(index);
      setAttribute(element, "aria-rowindex", String(index + 2));
      this.shown.set(index, element);
      this.body.append(element);
    } else {
      element.style.transform = `translateY(${index * this.height}px)`;
    }
    setAttribute(element, "aria-selected", index === this.active ? "true" : "false");
    const row = this.at(index);
    element.classList.toggle("pending", row === undefined);
    if (row === undefined) return;
    this.columns.forEach((column, place) => column.fill(element.children[place], row));
  }

  makeRow() {
    const element = make("div", { class: `row ${this.name}`, role: "row" });
    for (const column of this.columns) {
      const cell = make("div", { role: "gridcell", class: `cell ${column.id}${column.numeric ? " numeric" : ""}` });
      if (column.make) column.make(cell);
      element.append(cell);
    }
    return element;
  }

  click(event) {
    const element = event.target.closest(".row");
    if (element === null) return;
    const index = Number(element.dataset.index);
    const row = this.at(index);
    if (row === undefined) return;
    this.activate(index, false);
    if (event.target.closest("button") !== null) this.act(row);
    else if (this.open && String(window.getSelection()) === "") this.open(row);
  }

  /** Make a row the active one, and bring it into sight. */
  activate(index, scroll = true) {
    if (this.count === 0) return;
    this.active = Math.max(0, Math.min(this.count - 1, index));
    if (scroll) {
      const top = this.body.getBoundingClientRect().top + this.active * this.height;
      const above = this.head.getBoundingClientRect().bottom;
      if (top < above) window.scrollBy({ top: top - above, behavior: "instant" });
      const below = top + this.height - window.innerHeight;
      if (below > 0) window.scrollBy({ top: below, behavior: "instant" });
    }
    this.refresh();
  }

  press(event) {
    if (event.target !== this.table || event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(window.innerHeight / this.height) - 4);
    const steps = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: this.count - 1,
    };
    const row = this.at(this.active);
    if (event.key in steps) this.activate(steps[event.key]);
    else if (event.key === "Enter" && this.open && row) this.open(row);
    else if (event.key.toLowerCase() === "k" && this.act && row) this.act(row);
    else return;
    event.preventDefault();
  }
}

/** A column that is one text. */
export function textColumn(id, label, textOf, options = {}) {
  return { id, label, ...options, fill: (cell, row) => setText(cell, textOf(row)) };
}
