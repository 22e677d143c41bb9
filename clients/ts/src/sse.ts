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

/** Reads frames until the body ends. Comments come as frames without anything: they show that the connection lives. */
export async function* frames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let frame: Frame = { id: undefined, name: 'message', data: undefined };
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      if (rest.length + size > MAX_EVENT) throw new RangeError('an event of the stream is too large');
      // A carriage return at the end may be the first half of a line's end.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line === '') {
          yield frame;
          frame = { id: undefined, name: 'message', data: undefined };
          size = 0;
          continue;
        }
        size += line.length;
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'data') frame.data = frame.data === undefined ? text : `${frame.data}\n${text}`;
        else if (field === 'id' && !text.includes('\0')) frame.id = text;
        else if (field === 'event') frame.name = text;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
