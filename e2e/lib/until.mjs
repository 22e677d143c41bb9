import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits for something that another device or the server does.
 *
 * @param {() => boolean | Promise<boolean>} condition
 * @param {number} [within] in milliseconds; later is a failure
 * @returns {Promise<number>} how long it took, in milliseconds
 */
export async function until(condition, within = 5000) {
  const start = performance.now();
  for (;;) {
    const met = await condition();
    const took = performance.now() - start;
    if (took > within) throw new Error(`it took more than ${within} ms`);
    if (met) return took;
    await sleep(50);
  }
}
