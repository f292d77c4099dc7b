// Puts every thing to move into its place on the page.
import { Bench } from "./bench.js";
import { Bottleneck, Losses } from "./counts.js";
import { Descent } from "./descent.js";
import { Crops, Gallery, Ladder, Timeline, Votes } from "./practice.js";
import { Pool } from "./pool.js";
import { Curves, Residual } from "./residual.js";
import { Sharing } from "./sharing.js";
import { Sizes } from "./sizes.js";
import { Walker } from "./walker.js";

const TOYS = {
  crops: Crops, gallery: Gallery, ladder: Ladder, timeline: Timeline, votes: Votes, bench: Bench, bottleneck: Bottleneck, curves: Curves, descent: Descent, losses: Losses, pool: Pool, residual: Residual, sharing: Sharing, sizes: Sizes, walker: Walker };

for (const host of document.querySelectorAll("[data-toy]")) {
  const settings = JSON.parse(host.parentNode.querySelector("script").textContent);
  new TOYS[host.dataset.toy](host, settings);
}
