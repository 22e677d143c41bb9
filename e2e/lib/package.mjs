/**
 * The repository's own TypeScript client (clients/ts), as it is built: what is ours to publish is used here as others use it.
 */
export * from '../../clients/ts/dist/index.js';
