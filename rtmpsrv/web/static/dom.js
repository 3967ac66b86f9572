// Makes elements. What others have named reaches the page as text only: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return the full address of a path below the page, without the login that the page's own may hold. */
export function address(path) {
  return new URL(path, location.origin + location.pathname).href;
}

/** Return the element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Make an element with attributes and children; strings among the children are text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  return dress(element, attributes, children);
}

/** Make an element of a drawing. */
export function draw(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children);
  return element;
}

/** Set a text where it is another: a page that is told the same each second stays still. */
export function setText(element, text) {
  if (element.firstChild === null || element.childNodes.length > 1 || element.firstChild.nodeType !== 3) {
    element.textContent = text;
  } else if (element.firstChild.data !== text) {
    element.firstChild.data = text;
  }
}

/** Set an attribute where it is another; null takes it away. */
export function setAttribute(element, name, value) {
  if (value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}

/** Show or hide an element. */
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}
