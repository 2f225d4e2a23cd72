// What a person may do to a saga or a dead letter. Nothing is done before it has been confirmed in the dialog.

import { at, get, post } from '../api';
import type { Action, Saga } from '../model';

export interface Asked {
  kind: 'saga' | 'dead';
  action: Action;
  service: string;
  id: string | number;
  title: string;
  /** Of a saga that is to skip: the step at which it stands, once it is known. */
  step: string;
}

export const NAMES: Record<Action, string> = { retry: 'Retry', skip: 'Skip', resolve: 'Resolve', replay: 'Replay', drop: 'Drop' };

export const MEANS: Record<Action, string> = {
  retry: 'The saga goes on where it stands, with all attempts. Mend the cause first.',
  skip: 'The step is taken for done, or for undone when the saga goes back, and it goes on behind it. For what you did by other means.',
  resolve: 'The saga ends as it stands; nothing more is done. There is no way back. For when you have set everything right.',
  replay: 'The event is handled again, and those of its key that are held behind it. Mend the cause first.',
  drop: 'The event is given up and never handled; those held behind it go on. There is no way back.',
};

/** Those that cannot be undone are to be explained. */
export const GRAVE: ReadonlySet<Action> = new Set<Action>(['skip', 'resolve', 'drop']);

class Acting {
  asked = $state.raw<Asked | null>(null);
  /** Counts what was done, so that pages know when to read again. */
  done = $state(0);
  said = $state('');
}

export const acting = new Acting();

export function begin(kind: 'saga' | 'dead', action: Action, service: string, id: string | number, title: string): void {
  const asked: Asked = { kind, action, service, id, title, step: '' };
  acting.asked = asked;
  if (action !== 'skip') return;
  void get<Saga>(`sagas/${at(service, id)}`).then((saga) => {
    if (acting.asked === asked) acting.asked = { ...asked, step: saga.stands_at };
  }, () => undefined);
}

/** Do what was asked. Throws `Refused` with a sentence. */
export async function carryOut(asked: Asked, reason: string, step: string, outcome: string): Promise<void> {
  const body: Record<string, unknown> = { confirm: asked.id, reason };
  if (asked.action === 'skip') body['step'] = step;
  if (asked.action === 'resolve') body['as'] = outcome;
  await post(`${asked.kind === 'saga' ? 'sagas' : 'dead'}/${at(asked.service, asked.id)}/${asked.action}`, body);
  acting.done += 1;
  acting.said = `${NAMES[asked.action]}: done`;
}
