// Where one is: `#/traces/ID?errors=1`. The part behind # never leaves the browser, so any server of files will do.

class Route {
  path = $state.raw<string[]>([]);
  query = $state.raw(new URLSearchParams());

  constructor() {
    this.#read();
    addEventListener('hashchange', () => {
      this.#read();
      scrollTo(0, 0);
      document.getElementById('main')?.focus({ preventScroll: true });
    });
  }

  /** Another query on the same page, without a step for the back button. */
  filter(query: Record<string, string>): void {
    const kept = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
    const text = kept.size ? `?${kept}` : '';
    history.replaceState(null, '', `#/${this.path.map(encodeURIComponent).join('/')}${text}`);
    this.query = kept;
  }

  #read(): void {
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
    this.path = path.split('/').filter(Boolean).map(decoded);
    this.query = new URLSearchParams(query);
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = new Route();

/** The address of a page. */
export function to(...names: (string | number)[]): string {
  return `#/${names.map((name) => encodeURIComponent(String(name))).join('/')}`;
}
