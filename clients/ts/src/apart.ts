/** Where which connection a request goes over is up to the browser. */
export const apart = (url: URL, init: RequestInit): Promise<Response> => fetch(url, init);
