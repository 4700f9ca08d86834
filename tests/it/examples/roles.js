// Returns what of lists of descriptions a screen reader does not tell as such: the list that has another role (ARIA in HTML,
// section 4), and each name and value that is in no list (HTML, section 4.4.9).
const ROLES = ["group", "list", "none", "presentation"];
const isList = (list) => !list.hasAttribute("role") || ROLES.includes(list.getAttribute("role"));
const isIn = (part, parent = part.parentElement) =>
  parent?.tagName === "DIV" && !parent.hasAttribute("role") ? parent.parentElement?.tagName === "DL" : parent?.tagName === "DL";
return [
  ...[...document.querySelectorAll("dl")].filter((list) => !isList(list)),
  ...[...document.querySelectorAll("dt, dd")].filter((part) => !isIn(part) || part.hasAttribute("role")),
].map((element) => element.outerHTML);
