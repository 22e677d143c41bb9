/** What the agents have to know of methods. */
import { getKeyPackages, sendSealed } from './lexicons/blue/catbird/mls.js';

/** Methods whose caller shall not be known, as lexicons/policy.json has them: they take no token. */
export const ANONYMOUS: ReadonlySet<string> = new Set<string>([sendSealed.$lxm]);
/** Methods of which doing one twice does more than doing it once. */
export const CONSUMING: ReadonlySet<string> = new Set<string>([getKeyPackages.$lxm]);

/** The NSID of the method that a path is of. */
export function methodOf(path: string): string {
  return path.slice('/xrpc/'.length).replace(/[?#].*$/s, '');
}
