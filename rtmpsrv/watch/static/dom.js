// Elements of the page. What others have named reaches it as text only.

/** Return the element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Make an element with attributes and children; strings among the children are text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set a text where it is another: readers of screens are told of changes only. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
