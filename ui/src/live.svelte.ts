// The first screen's data, kept fresh by server-sent events. A connection that is lost is made again, later each time.

import { get } from './api';
import type { View } from './model';

const FIRST = 500;
const LONGEST = 10_000;
const SILENCE = 40_000; // the server says something every 15 s

class Live {
  view = $state.raw<View | null>(null);
  /** When the connection was lost, in seconds since the epoch; null while it is there. */
  lost = $state<number | null>(null);
  /** Seconds since the epoch by the server's clock, once a second. */
  now = $state(Date.now() / 1000);
  #source: EventSource | null = null;
  #wait = FIRST;
  #heard = 0;
  #ahead = 0;

  start(): void {
    this.#open();
    get<View>('view').then((view) => this.#take(view), () => undefined);
    setInterval(() => this.#tick(), 1000);
    // A browser may keep a page that was left, and with it one of the six connections that it has for this address.
    addEventListener('pagehide', () => this.#source?.close());
    addEventListener('pageshow', (event) => event.persisted && this.#open());
  }

  #open(): void {
    this.#source?.close();
    const source = new EventSource('api/stream');
    this.#source = source;
    this.#heard = Date.now();
    source.addEventListener('open', () => {
      this.#heard = Date.now();
      this.#wait = FIRST;
      this.lost = null;
    });
    source.addEventListener('view', (event) => {
      this.lost = null;
      this.#take(JSON.parse((event as MessageEvent<string>).data) as View);
    });
    source.addEventListener('error', () => this.#again());
  }

  #again(): void {
    this.#source?.close();
    this.#source = null;
    this.lost ??= Date.now() / 1000;
    setTimeout(() => this.#open(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LONGEST);
  }

  #take(view: View): void {
    this.#heard = Date.now();
    if (this.view && view.at < this.view.at) return;
    this.#ahead = view.at - Date.now() / 1000;
    this.now = view.at;
    this.view = view;
  }

  #tick(): void {
    this.now = Date.now() / 1000 + this.#ahead;
    // A comment of the server is not told to scripts, so silence is asked about rather than believed.
    if (this.#source && Date.now() - this.#heard > SILENCE) {
      this.#heard = Date.now();
      get<View>('view').then((view) => this.#take(view), () => this.#again());
    }
  }
}

export const live = new Live();
