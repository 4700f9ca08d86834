// Returns every shown control that has no name for those who do not see it (WCAG 2.2, success criterion 4.1.2), or that
// the keyboard does not reach (2.1.1).
const named = (control) =>
  control.labels?.length || control.ariaLabel || control.getAttribute("aria-labelledby") || control.innerText?.trim();
return [...document.querySelectorAll("button, input, select, textarea, progress, a, summary, [tabindex]")]
  .filter((control) => control.checkVisibility())
  .filter((control) => !named(control) || (control.tabIndex < 0 && control.tagName !== "PROGRESS"))
  .map((control) => control.outerHTML);
