/** Requests that share no connection with others, in Node.js, whose fetch keeps connections and uses them for whatever comes next. */
import { request as http, type IncomingMessage } from 'node:http';
import { request as https } from 'node:https';
import { buffer } from 'node:stream/consumers';

/** How long a connection may be silent in milliseconds. */
const SILENCE = 60_000;

/**
 * A fetch for requests whose bodies are texts or bytes and whose answers are small, each over a connection of its own, which is
 * closed behind it. It follows no redirect.
 */
export async function apart(url: URL, init: RequestInit): Promise<Response> {
  const { body = null, method = 'GET', signal } = init;
  if (body !== null && typeof body !== 'string' && !(body instanceof Uint8Array)) throw new TypeError('the body is neither a text nor bytes');
  const headers = Object.fromEntries(new Headers(init.headers));
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = (url.protocol === 'https:' ? https : http)(url, { method, headers, agent: false, timeout: SILENCE, ...(signal ? { signal } : {}) }, resolve);
      request.on('error', reject).on('timeout', () => request.destroy(new Error('the service says nothing'))).end(body);
    });
    const content = await buffer(answer);
    return new Response(content.length === 0 ? null : new Uint8Array(content), { status: answer.statusCode ?? 0, headers: pairs(answer.rawHeaders) });
  } catch (cause) {
    throw signal?.aborted ? signal.reason : new TypeError('fetch failed', { cause }); // as fetch says it
  }
}

function pairs(raw: string[]): [string, string][] {
  return raw.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, raw[i + 1]!]] : []));
}
