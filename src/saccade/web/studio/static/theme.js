// Before the page is painted: the theme that was chosen here; none follows the system.
const chosen = (() => {
  try {
    return localStorage.getItem("saccade-theme");
  } catch {
    return null; // storage is forbidden here
  }
})();
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
