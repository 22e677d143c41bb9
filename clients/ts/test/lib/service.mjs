/** A service on a port of its own that answers as a test says. */
import { createServer } from 'node:http';
import { once } from 'node:events';

/**
 * @typedef {{ status?: number, headers?: Record<string, string>, body?: unknown }} Answer
 * @typedef {{ path: string, headers: import('node:http').IncomingHttpHeaders, body: string }} Asked
 */

/**
 * @param {import('node:test').TestContext} t
 * @param {(asked: Asked, response: import('node:http').ServerResponse) => Answer | undefined} answer undefined: it has answered itself
 */
export async function serve(t, answer) {
  /** @type {Asked[]} */
  const asked = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text) => (body += text)).on('end', () => {
      const one = { path: request.url ?? '', headers: request.headers, body };
      asked.push(one);
      const said = answer(one, response);
      if (said === undefined) return;
      response.writeHead(said.status ?? 200, { 'content-type': 'application/json', ...said.headers });
      response.end(typeof said.body === 'string' ? said.body : JSON.stringify(said.body ?? {}));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { url: `http://127.0.0.1:${port}`, asked };
}
