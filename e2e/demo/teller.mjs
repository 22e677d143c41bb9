/**
 * How the demo is told: plain text, with colours and signs of waiting where there is a terminal.
 */

/** Width of the column of names. */
const NAMES = 12;
const WAITING = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const CLEAR = '\r\x1b[K';

/** SGR codes, https://www.ecma-international.org/publications-and-standards/standards/ecma-48/ 8.3.117. */
const STYLES = /** @type {const} */ ({ bold: 1, dim: 2, red: 31, green: 32, yellow: 33, magenta: 35, cyan: 36 });

/** @typedef {keyof typeof STYLES} Style */

/**
 * Whether to use colours: NO_COLOR says no (https://no-color.org), FORCE_COLOR says yes.
 *
 * @param {boolean} terminal
 * @param {Record<string, string | undefined>} environment
 */
export function wantsColour(terminal, environment) {
  if (environment.NO_COLOR) return false;
  return environment.FORCE_COLOR ? true : terminal && environment.TERM !== 'dumb';
}

export class Teller {
  #write;
  #terminal;
  #colour;
  /** @type {Map<string, Style>} */
  #styles = new Map([['server', 'yellow']]);
  #chapters = 0;

  /**
   * @param {(text: string) => void} write
   * @param {{ terminal?: boolean, colour?: boolean }} [where] terminal: lines can be taken back
   */
  constructor(write, { terminal = false, colour = false } = {}) {
    this.#write = write;
    this.#terminal = terminal;
    this.#colour = colour;
  }

  /**
   * Gives somebody a colour.
   *
   * @param {string} name
   * @param {Style} style
   */
  cast(name, style) {
    this.#styles.set(name, style);
  }

  /**
   * @param {Style} style
   * @param {string} text
   */
  paint(style, text) {
    return this.#colour ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text;
  }

  /** @param {string} [text] */
  line(text = '') {
    this.#write(`${text}\n`);
  }

  /** @param {string} title */
  chapter(title) {
    this.line();
    this.line(this.paint('bold', `${++this.#chapters}. ${title}`));
  }

  /**
   * Somebody does something.
   *
   * @param {string} name
   * @param {string} text
   */
  does(name, text) {
    this.line(`   ${this.paint(this.#styles.get(name) ?? 'bold', name.padEnd(NAMES))}${text}`);
  }

  /**
   * What the server saw of it.
   *
   * @param {string} text
   */
  server(text) {
    this.line(`   ${this.paint('yellow', 'server'.padEnd(NAMES))}${this.paint('dim', text)}`);
  }

  /**
   * Rows as the server has them.
   *
   * @param {string[]} columns
   * @param {string[][]} rows
   */
  table(columns, rows) {
    const widths = columns.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i].length)));
    const join = (/** @type {string[]} */ cells) => cells.map((cell, i) => cell.padEnd(widths[i])).join('   ').trimEnd();
    this.server(join(columns));
    for (const row of rows) this.line(`${' '.repeat(NAMES + 3)}${join(row)}`);
  }

  /**
   * Says on a terminal what is waited for, as long as it lasts.
   *
   * @template T
   * @param {string} what
   * @param {Promise<T>} promise
   * @returns {Promise<T>}
   */
  async waitFor(what, promise) {
    if (!this.#terminal) return promise;
    let turn = 0;
    const show = () => this.#write(`${CLEAR}   ${this.paint('dim', `${WAITING[turn++ % WAITING.length]} ${what}`)}`);
    show();
    const timer = setInterval(show, 80);
    try {
      return await promise;
    } finally {
      clearInterval(timer);
      this.#write(CLEAR);
    }
  }
}
