/** The WebSocket of browsers and of runtimes that have one. */
export const Platform: typeof WebSocket | undefined = globalThis.WebSocket;
