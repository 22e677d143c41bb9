// Where a Chromium is. CHROMIUM may name it.
import { existsSync } from "node:fs";

const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];
export const executablePath = candidates.find((path) => path && existsSync(path));
if (!executablePath) throw new Error("there is no Chromium; CHROMIUM may name it");
