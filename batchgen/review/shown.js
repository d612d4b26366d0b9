// Builds elements. Text only ever becomes text: nothing here reads markup.

const PICTURES = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu;

// Characters that are not seen, or that turn the text around them, are shown as what they are.
export function visible(text) {
  return text.replace(PICTURES, (letter) => {
    const code = letter.codePointAt(0);
    return code < 32 ? String.fromCodePoint(0x2400 + code) : `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function text(value, className = "") {
  const shown = element("pre", { className, dir: "auto" });
  if (value === null || value === undefined) {
    shown.textContent = "–";
    shown.classList.add("none");
  } else {
    shown.textContent = visible(value);
  }
  return shown;
}

export function count(number) {
  return number.toLocaleString("en");
}

export function figure(number) {
  return Number(number.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

export function section(title, open, ...children) {
  return element("details", { open }, element("summary", {}, title), ...children);
}

export function pairs(lines, className = "") {
  const list = element("dl", { className });
  for (const [name, value] of lines) {
    list.append(element("dt", { dir: "auto" }, visible(name)), element("dd", {}, value instanceof Node ? value : text(value)));
  }
  return list;
}
