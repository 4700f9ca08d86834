// Returns every shown text whose contrast with what is behind it is below 4.5 (WCAG 2.2, success criterion 1.4.3).
const channels = (color) => color.match(/[\d.]+/g).map(Number);
const luminance = (color) => {
  const [red, green, blue] = channels(color).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = (element) => {
  const color = getComputedStyle(element).backgroundColor;
  return channels(color)[3] === 0 ? behind(element.parentElement) : color;
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const pale = [];
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
  const [light, dark] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => b - a);
  const contrast = (light + 0.05) / (dark + 0.05);
  if (contrast < 4.5) pale.push(`${contrast.toFixed(2)} ${element.tagName}.${element.className}: ${texts.currentNode.data.trim()}`);
}
return pale;
