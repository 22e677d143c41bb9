/** Server-Sent Events out of the body of a fetch: native EventSource can send no token. */

export interface Frame {
  /** The position behind the event. */
  id: string | undefined;
  name: string;
  /** undefined in frames that only say a position. */
  data: string | undefined;
}

/** Largest event in characters. */
const MAX_EVENT = 32 * 1024 * 1024;

/**
 * Reads frames until the body ends. Comments come as frames without anything: they show that the connection lives. So does every
 * piece of the body, of which heard is told.
 */
export async function* frames(body: ReadableStream<Uint8Array>, heard?: () => void): AsyncGenerator<Frame, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  // The pieces of the line that has not ended; they are looked at once, when they come.
  let open: string[] = [];
  let halfEnd = false;
  let frame: Frame = { id: undefined, name: 'message', data: undefined };
  let size = 0;
  const add = (piece: string) => {
    size += piece.length;
    if (size > MAX_EVENT) throw new RangeError('an event of the stream is too large');
    if (piece !== '') open.push(piece);
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard?.();
      const text = decoder.decode(value, { stream: true });
      if (text === '') continue;
      // A line feed behind a carriage return ends no further line.
      const pieces = (halfEnd && text.startsWith('\n') ? text.slice(1) : text).split(/\r\n|\n|\r/);
      halfEnd = text.endsWith('\r');
      const unfinished = pieces.pop() ?? '';
      for (const piece of pieces) {
        add(piece);
        const line = open.join('');
        open = [];
        if (line === '') {
          yield frame;
          frame = { id: undefined, name: 'message', data: undefined };
          size = 0;
          continue;
        }
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const rest = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'data') frame.data = frame.data === undefined ? rest : `${frame.data}\n${rest}`;
        else if (field === 'id' && !rest.includes('\0')) frame.id = rest;
        else if (field === 'event') frame.name = rest;
      }
      add(unfinished);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
