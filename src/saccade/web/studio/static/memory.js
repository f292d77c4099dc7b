// What this browser remembers between visits; nothing where storage is forbidden.

export function remembered(name, otherwise = "") {
  try {
    return localStorage.getItem(`saccade-${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`saccade-${name}`, value);
  } catch {
    // it holds until the page is left
  }
}
