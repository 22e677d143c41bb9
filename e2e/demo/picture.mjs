/**
 * A picture of a terminal: text with colours, as an SVG that loads nothing and reads well on light and dark pages.
 */
const CHARACTER = 7.9;
const LINE = 18;
const PADDING = 20;
const SIZE = 13;

/** The classes of SGR codes. */
const CLASSES = new Map([['1', 'bold'], ['2', 'dim'], ['32', 'green'], ['33', 'yellow'], ['35', 'magenta'], ['36', 'cyan']]);

const STYLE = `
    text { font: ${SIZE}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d1d7e0; }
    .ground { fill: #151b23; stroke: #3d444d; }
    .bold { font-weight: 700; fill: #ffffff; }
    .dim { fill: #9198a1; }
    .green { fill: #56d364; }
    .yellow { fill: #e3b341; }
    .magenta { fill: #db8bff; }
    .cyan { fill: #56d4dd; }
  `;

/** @param {string} text */
const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c] ?? c);

/**
 * Parts of a line, each with a class, "" for none.
 *
 * @param {string} line
 * @returns {{ text: string, style: string, at: number }[]}
 */
function parts(line) {
  const found = [];
  let style = '';
  let at = 0;
  for (const [i, piece] of line.split(/\x1b\[(\d*)m/).entries()) {
    if (i % 2 === 1) style = CLASSES.get(piece) ?? '';
    else {
      // Spaces that matter are places: not every program that shows pictures keeps them.
      for (const { 0: text, index } of piece.matchAll(/\S+(?: \S+)*/g)) found.push({ text, style, at: at + [...piece.slice(0, index)].length });
      at += [...piece].length;
    }
  }
  return found;
}

/**
 * @param {string} text what was written to a terminal, with colours
 * @param {{ title: string, description: string }} words
 * @returns {string} the SVG
 */
export function picture(text, { title, description }) {
  const lines = text.replace(/\n+$/, '').split('\n').map(parts);
  const columns = Math.max(...lines.flat().map((part) => part.at + [...part.text].length));
  const width = Math.ceil(columns * CHARACTER + 2 * PADDING);
  const height = lines.length * LINE + 2 * PADDING;
  const drawn = lines.flatMap((line, i) =>
    line.map(({ text, style, at }) => {
      const x = (PADDING + at * CHARACTER).toFixed(1);
      // Whatever the font, columns stay columns.
      const length = ([...text].length * CHARACTER).toFixed(1);
      const y = PADDING + i * LINE + SIZE;
      return `  <text${style && ` class="${style}"`} x="${x}" y="${y}" textLength="${length}" lengthAdjust="spacingAndGlyphs">${escape(text)}</text>`;
    }),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="t d">
  <title id="t">${escape(title)}</title>
  <desc id="d">${escape(description)}</desc>
  <style>${STYLE}</style>
  <rect class="ground" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
${drawn.join('\n')}
</svg>
`;
}
