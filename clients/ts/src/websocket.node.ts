/** Node.js 20 has no WebSocket of its own. */
import { WebSocket as Ws } from 'ws';

export const Platform = Ws as unknown as typeof WebSocket;
