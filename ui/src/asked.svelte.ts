// An answer of the server that a page shows: asked for again when the question changes, after an action, and every few seconds.

import { get } from './api';
import { acting } from './parts/acting.svelte';

const EVERY = 5000;

export class Asked<T> {
  data = $state.raw<T | null>(null);
  error = $state('');
  #number = 0;

  /** To be made while a page is set up; the question is a path below `api/`. */
  constructor(question: () => string, { again = true }: { again?: boolean } = {}) {
    $effect(() => {
      const path = question();
      void acting.done;
      void this.ask(path);
      if (!again) return;
      const timer = setInterval(() => document.hidden || void this.ask(path), EVERY);
      return () => clearInterval(timer);
    });
  }

  async ask(path: string): Promise<void> {
    const number = ++this.#number;
    try {
      const data = await get<T>(path);
      // An answer that was overtaken by a later question is not shown.
      if (number === this.#number) [this.data, this.error] = [data, ''];
    } catch (problem) {
      if (number === this.#number) this.error = problem instanceof Error ? problem.message : 'it failed';
    }
  }
}
