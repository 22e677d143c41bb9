/** What the server has stored, as a development build shows it. */
export interface Table {
  count: number;
  columns: string[];
  rows: Record<string, unknown>[];
}

export type Tables = Record<string, Table>;

export async function fetchRows(): Promise<Tables> {
  const response = await fetch('/dev/rows', { cache: 'no-store' });
  if (!response.ok) throw new Error(`The server did not show its rows: ${response.status}`);
  return (await response.json()) as Tables;
}
