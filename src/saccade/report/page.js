// Behind tables.js. Conveniences only: without scripts the page has everything. Pictures enlarge.
const dialog = document.createElement("dialog");
dialog.setAttribute("aria-label", "Enlarged picture");
const large = document.createElement("img"), words = document.createElement("p"), close = document.createElement("button");
close.type = "button";
close.textContent = "Close";
close.addEventListener("click", () => dialog.close());
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
dialog.append(large, words, close);
document.body.append(dialog);
for (const picture of document.querySelectorAll(".card img, .thumbnails img")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.setAttribute("aria-label", `Enlarge: ${picture.alt}`);
  picture.replaceWith(button);
  button.append(picture);
  button.addEventListener("click", () => {
    large.src = picture.src;
    large.alt = picture.alt;
    large.className = picture.className;
    const factor = Math.max(1, Math.min(8, Math.floor(Math.min(innerWidth - 96, 640) / Math.max(picture.naturalWidth, picture.naturalHeight))));
    large.width = picture.naturalWidth * factor;
    large.height = picture.naturalHeight * factor;
    words.textContent = `${picture.alt} (${picture.naturalWidth}x${picture.naturalHeight} pixels are kept)`;
    dialog.showModal();
  });
}
