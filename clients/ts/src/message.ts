/** The body of sendMessage around an MLSMessage. */
import { pad, type PaddingForm } from './padding.js';
import { uuid } from './text.js';

export interface Outgoing {
  convoId: string;
  msgId: string;
  idempotencyKey: string;
  ciphertext: Uint8Array;
  paddedSize: number;
  epoch: number;
}

/**
 * Pads an encoded MLSMessage and gives it a random id. Keep what this returns until the service has answered: sent again as it is,
 * the message is stored once.
 */
export function outgoing(convoId: string, epoch: number, message: Uint8Array, form: PaddingForm = 'direct'): Outgoing {
  const ciphertext = pad(message, form);
  return { convoId, msgId: uuid(), idempotencyKey: uuid(), ciphertext, paddedSize: ciphertext.length, epoch };
}
