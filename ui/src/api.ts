// Questions to the console's server. Answers are data: nothing in them is ever taken for markup.

const PATIENCE = 15_000;

export class Refused extends Error {}

/** The answer to a GET. Throws `Refused` with a sentence for a person. */
export async function get<T>(path: string): Promise<T> {
  return ask<T>(path, {});
}

/** The answer to a POST. The header says that a script of this page asks; a form of another one could not send it. */
export async function post<T>(path: string, body: unknown): Promise<T> {
  return ask<T>(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-skerry': '1' },
    body: JSON.stringify(body),
  });
}

/** A path of names, each escaped. */
export function at(...names: (string | number)[]): string {
  return names.map((name) => encodeURIComponent(String(name))).join('/');
}

async function ask<T>(path: string, options: RequestInit): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(`api/${path}`, { ...options, credentials: 'same-origin', signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Refused('the console does not answer');
  }
  if (answer.ok) return (await answer.json()) as T;
  throw new Refused(await said(answer));
}

async function said(answer: Response): Promise<string> {
  if (answer.status === 401 || answer.status === 403)
    return 'this browser is not let in: open the address that `skerry console` printed';
  try {
    const body = (await answer.json()) as { error?: unknown };
    const text = body.error;
    if (typeof text === 'string' && text) return text;
  } catch {
    // no JSON: its status says enough
  }
  return `the console answered ${answer.status}`;
}
